"""`dicomrelay worklist remove`."""

from __future__ import annotations

import click

from dicomrelay.cli.audited import Audited
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.cli.worklist.opening import items, key_of, opened_worklist
from dicomrelay.errors import ExitCode


@relay_command(
    about="Take items away. What was performed of them is not touched.",
    examples="dicomrelay worklist remove A1\ndicomrelay worklist remove 1.2.840.113619.2.1 1.2.840.113619.2.2",
    audited=Audited("worklist.remove"),
)
@click.argument("names", nargs=-1, required=True, metavar="ITEM...")
def command(invocation: Invocation, names: tuple[str, ...]) -> int:
    counts: dict[str, int] = {}
    with opened_worklist(invocation.settings) as worklist:
        for name in names:
            counts[name] = worklist.remove(key_of(name))
    for name, count in counts.items():
        if not count:
            invocation.say(f"{name!r}: no item of the worklist has that id, accession number or study")
    if invocation.as_json:
        invocation.emit({"removed": counts})
    else:
        invocation.say(f"{items(sum(counts.values()))} removed")
    return ExitCode.OK if all(counts.values()) else ExitCode.SOME_FAILED
