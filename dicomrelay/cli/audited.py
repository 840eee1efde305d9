"""What a person does by a command, for the audit: begun before it is done, its outcome after."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import click

from dicomrelay.runtime.home import FOLDERS
from dicomrelay.settings import Settings
from dicomrelay.settings.load import CONFIG_NAME

_Result = TypeVar("_Result")
# What is typed may be anything, a patient's id too: UIDs, our own ids and names of the settings are told.
_OURS: Final = re.compile(r"[0-9]+(\.[0-9]+)+|[0-9a-f]{32}")
_NAMED: Final = frozenset({"destination", "user", "token", "role", "priority", "part"})


@dataclass(frozen=True, slots=True)
class Audited:
    """How a command is recorded.

    Attributes
    ----------
    what : str
        In a word: "jobs.hold".
    named : mapping
        Parameter → what it names: "subject", "destination", "user".
    looks : tuple of str
        Flags with which it only looks.
    makes_home : bool
        It begins a home; else where none is nothing is done that could be recorded.
    """

    what: str
    named: Mapping[str, str] = field(default_factory=dict)
    looks: tuple[str, ...] = ()
    makes_home: bool = False


def recorded(
    how: Audited, settings: Settings, given: Mapping[str, Any], run: Callable[[], _Result]
) -> _Result:
    """Run it, recorded.

    Raises
    ------
    AuditError
        It cannot be recorded, and was not done.
    """
    if any(given.get(flag) for flag in how.looks) or not (how.makes_home or _is_home(settings)):
        return run()
    from dicomrelay.audit import Audit, Outcome, Thing, this_account  # noqa: PLC0415 - not for every --help

    things = [Thing(kind, name) for kind, name in _things(how, given)]
    with Audit(settings).action(this_account(), how.what, things, {"by": "command"}) as doing:
        result = run()
        if isinstance(result, int) and not isinstance(result, bool) and result:
            doing.outcome, doing.words = Outcome.MINOR, f"exit code {int(result)}"
        return result


def _is_home(settings: Settings) -> bool:
    """Whether that is a home of ours, and no folder that only has its name: the default is `./var`."""
    if all(settings.path(name).is_dir() for name in FOLDERS):
        return True
    return settings.path(CONFIG_NAME).is_file() or settings.path("audit", "lock").is_file()


@contextlib.contextmanager
def studies_told(
    settings: Settings, kind: str, what: str, media: str = ""
) -> Iterator[Callable[[str, int], None]]:
    """What the block does to studies: to be called with the Study Instance UID and how many instances, as they are done.

    Parameters
    ----------
    kind : str
        "exported", "imported" or "deleted".
    """
    if not _is_home(settings):
        yield lambda _study, _count: None
        return
    from dicomrelay.audit import Audit, Kind, this_account  # noqa: PLC0415 - not for every --help
    from dicomrelay.audit.studies import StudyTally  # noqa: PLC0415

    tally = StudyTally(Audit(settings), Kind(kind), what, this_account(), media)
    try:
        yield tally.add
    finally:
        tally.end()


@contextlib.contextmanager
def lifetime(settings: Settings) -> Iterator[None]:
    """A service runs while the block does: its start and its end are recorded."""
    from dicomrelay.audit import Audit, Entry, Kind, Outcome, this_account  # noqa: PLC0415 - not for every --help

    context = click.get_current_context(silent=True)
    name = context.info_name or "service" if context is not None else "service"
    audit, account = Audit(settings), this_account()
    audit.note(Entry(Kind.START, name, account))
    try:
        yield
    except Exception as error:
        audit.note(Entry(Kind.STOP, name, account, outcome=Outcome.SERIOUS, words=type(error).__name__))
        raise
    except BaseException:
        audit.note(Entry(Kind.STOP, name, account))
        raise
    audit.note(Entry(Kind.STOP, name, account))


def _things(how: Audited, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for parameter, kind in how.named.items():
        value = given.get(parameter)
        for each in value if isinstance(value, tuple | list) else (value,):
            if each in (None, "", False):
                continue
            if each is True:
                yield kind, parameter
            elif kind in _NAMED or _OURS.fullmatch(str(each)):
                yield kind, str(each)
            else:
                yield kind, "unknown"
