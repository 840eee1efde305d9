"""docs/reference/events.md, written from the code: `python -m tests.support.events_page --write`.

Kinds are the enumerations; what a log line says is read from the calls that write it.
"""

# ruff: noqa: E501 - tables of words

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache

from dicomrelay.audit.values import Kind
from dicomrelay.ledger.events import EventKind
from dicomrelay.ledger.values_alerts import AlertKind, Severity, Told
from tests.support.log_calls import LEVELS, Line, calls
from tests.support.markdown import ROOT

PAGE = ROOT / "docs" / "reference" / "events.md"

INTRODUCTION = """\
# Events

<!-- Written by `python -m tests.support.events_page --write` from the code; a test compares the two. -->

What the relay says by itself, in four places. None of them holds an attribute of a patient; UIDs may be there.

| where | for | read it with |
| --- | --- | --- |
| events of the ledger | what became of a study, an instance, a transfer | `dicomrelay trace UID`, the page *Studies* of Flower |
| log lines | what a process did, for whoever looks after it | `logs/` of the home, JSON where it is no terminal ([how](../design/logs.md)) |
| the audit | who did what, and what went where | `dicomrelay audit list`, a repository by syslog ([how](../howto/audit.md)) |
| alerts | what a person has to look at now | webhooks and mail ([how](../howto/alerts.md)), `dicomrelay alerts list` |
"""

EVENTS = {
    EventKind.RECEIVED: "An instance was registered for the first time.",
    EventKind.CONFLICT: "Other bytes came under a SOP Instance UID that is kept already; they were set aside.",
    EventKind.TRANSFER_MADE: "Deliveries of a study became a transfer: one batch for one destination.",
    EventKind.TRANSFER_CLAIMED: "A worker took a transfer: an attempt begins.",
    EventKind.TRANSFER_DONE: "Everything of a transfer was delivered.",
    EventKind.TRANSFER_NEEDS_ATTENTION: "Something of a transfer was refused, or no attempt is left: it is not tried again by itself.",
    EventKind.TRANSFER_REOPENED: "A transfer that was over is to be sent again: by `retry`, or because something is missing there.",
    EventKind.TRANSFER_HANDED_BACK: "A worker gave a transfer back between two instances; no attempt is counted.",
    EventKind.TRANSFER_HELD: "A person holds a transfer.",
    EventKind.TRANSFER_RELEASED: "A held transfer may go again.",
    EventKind.TRANSFER_CANCELLED: "A person cancelled a transfer.",
    EventKind.DESTINATION_HELD: "A person holds a destination: nothing goes there.",
    EventKind.DESTINATION_RELEASED: "A held destination may be sent to again.",
    EventKind.BREAKER_OPENED: "So many contacts failed in a row that a destination is only asked by probes.",
    EventKind.BREAKER_CLOSED: "The destination answered again.",
    EventKind.REPLAYED: "A person had instances sent once more, as a new job.",
    EventKind.LATE_OUTCOME: "An answer came to a worker whose lease was over; what the peer acknowledged is kept here.",
    EventKind.NOT_VERIFIED: "A destination that was asked after sending did not confirm.",
    EventKind.STAGE_NEEDS_ATTENTION: "Archiving or preparing frames of an instance failed for good.",
    EventKind.REPAIRED: "`dicomrelay repair` changed what the ledger says.",
    EventKind.REBUILT: "The ledger was made anew from spool and archive; what was before is not in it.",
}
AUDIT = {
    Kind.START: "A service began.",
    Kind.STOP: "A service ended, in order or by an error.",
    Kind.BEGIN: "Instances begin to leave for a destination.",
    Kind.TRANSFERRED: "Instances came in, or went out.",
    Kind.ACCESSED: "Somebody looked at instances.",
    Kind.EXPORTED: "Instances were copied out of the archive.",
    Kind.IMPORTED: "Files were put into the archive.",
    Kind.DELETED: "Instances were removed from the archive: by a command, or by retention.",
    Kind.QUERY: "Somebody searched.",
    Kind.LOGIN: "Somebody showed who he is, rightly or not.",
    Kind.REFUSED: "Somebody was not let in, or not to what he wanted.",
    Kind.ACTION: "A person did something: a command, a button, a change over HTTP.",
    Kind.AUDIT_USED: "Somebody read the audit.",
}
ALERTS = {
    AlertKind.ATTENTION: "Deliveries or stages need attention.",
    AlertKind.DESTINATION: "A destination has not answered for longer than it may.",
    AlertKind.DISK: "The spool's or the archive's disk has less room than it should.",
    AlertKind.CERTIFICATE: "A certificate of the settings has expired, or soon will.",
}


@cache
def log_lines() -> dict[str, Line]:
    """Every action that the code writes, with all that its lines may say."""
    found: dict[str, Line] = {}
    for line in calls()[0]:
        if line.action:
            _joined(found.setdefault(line.action, Line(line.action)), line)
    return dict(sorted(found.items()))


@cache
def other_lines() -> dict[str, Line]:
    """Lines that have words and no action, by their words; not those of people who look for a fault (debug)."""
    found: dict[str, Line] = {}
    for line in calls()[0]:
        if not line.action and line.levels != {"debug"}:
            for words in line.words:
                _joined(found.setdefault(words, Line("")), line)
    return dict(sorted(found.items()))


def _joined(whole: Line, line: Line) -> None:
    whole.levels |= line.levels
    whole.words |= line.words
    whole.fields |= line.fields
    whole.rooms |= line.rooms


def render() -> str:
    """The whole page."""
    parts = [INTRODUCTION, "\n## Events of the ledger\n\n"]
    parts.append(
        "Rows of the table `events`: time, kind, and which study, instance, transfer, destination and job it is about; "
        "`detail` is JSON. [The ledger](../design/ledger.md) has the states that they change.\n\n"
    )
    parts.append(_table(("kind", "what happened"), ((f"`{kind}`", EVENTS[kind]) for kind in EventKind)))
    parts.append(
        "\n## The audit\n\nEach entry has who, what, when, about what, and with which outcome ([audit](../design/audit.md)).\n\n"
    )
    parts.append(_table(("kind", "what happened"), ((f"`{kind}`", AUDIT[kind]) for kind in Kind)))
    parts.append("\n## Alerts\n\n")
    told, severities = (", ".join(f"`{each}`" for each in enumeration) for enumeration in (Told, Severity))
    parts.append(
        f"A webhook's body is JSON with `id`, `what` ({told}, or `test`), `kind`, `subject`, `severity` ({severities}), `words`, `do`, "
        "`began_at`, `ended_at` and `host`. [Be told](../howto/alerts.md) says how its signature is checked.\n\n"
    )
    parts.append(_table(("kind", "what is wrong"), ((f"`{kind}`", ALERTS[kind]) for kind in AlertKind)))
    parts.append(
        "\n## Log lines\n\nBy `action`. Every line has `timestamp`, `level`, `event` (the words) and its fields; not every line has all of them. [The page of logs](../design/logs.md) says which of them are the one line of an association, a task or a request.\n\n"
    )
    parts.append(
        _table(("action", "level", "words", "fields", "written by"), map(_cells, log_lines().values()))
    )
    parts.append("\n### Without an action\n\nThese are known by their words.\n\n")
    parts.append(
        _table(
            ("words", "level", "fields", "written by"),
            ((words, *_cells(line)[1:2], *_cells(line)[3:]) for words, line in other_lines().items()),
        )
    )
    return "".join(parts)


def _cells(line: Line) -> tuple[str, ...]:
    return (
        f"`{line.action}`",
        ", ".join(level for level in LEVELS if level in line.levels),
        "<br>".join(sorted(line.words)),
        ", ".join(f"`{name}`" for name in sorted(line.fields)),
        ", ".join(sorted(line.rooms)),
    )


def _table(heads: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |\n" for cells in lines)


if __name__ == "__main__":
    if "--write" in sys.argv:
        PAGE.write_text(render(), encoding="utf-8")
        sys.stderr.write(f"written: {PAGE.name}\n")
    else:
        sys.stdout.write(render())
