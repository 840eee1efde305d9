"""What became of records, in words and for machines; of items that are at fault the place and the attribute, no value."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dicomrelay.cli.options import Invocation
from dicomrelay.cli.worklist.opening import items
from dicomrelay.errors import ExitCode
from dicomrelay.scheduling.worklist_item import Fault
from dicomrelay.scheduling.worklist_taking import Taken
from dicomrelay.text import shown


def tell(invocation: Invocation, taken: Taken, *, files: int | None = None) -> int:
    """Say it; exit code 1 when something was not taken."""
    for where, faults in taken.refused:
        invocation.say(refused(where, faults))
    if invocation.as_json:
        invocation.emit(_as_json(taken, files))
    else:
        invocation.say(_words(taken))
    return ExitCode.SOME_FAILED if taken.refused else ExitCode.OK


def refused(where: str, faults: Iterable[Fault]) -> str:
    """One line for what was not taken."""
    why = "; ".join(map(str, faults))
    return shown(f"{where}: {why}" if where else why)


def _words(taken: Taken) -> str:
    parts = [f"{count} {name.value}" for name, count in sorted(taken.put.items())]
    parts += [f"{taken.set} given another status"] if taken.set else []
    parts += [f"{len(taken.refused)} not taken"] if taken.refused else []
    return f"{items(taken.done)}: {', '.join(parts)}" if parts else "nothing to do"


def _as_json(taken: Taken, files: int | None) -> dict[str, Any]:
    return {
        **({} if files is None else {"files": files}),
        **{name.value: count for name, count in sorted(taken.put.items())},
        "status_set": taken.set,
        "refused": [
            {"where": where, "faults": [{"path": fault.path, "words": fault.words} for fault in faults]}
            for where, faults in taken.refused
        ],
    }
