"""docs/reference/outcomes.md, written from the table.

`python -m tests.support.outcomes_page` writes the page anew; a test fails while page and table differ.
"""

from __future__ import annotations

import sys

from dicomrelay.dicom.status import STATUSES, Outcome, StatusRow
from dicomrelay.net import outcomes
from dicomrelay.net.outcomes import Row
from tests.support.markdown import ROOT

PAGE = ROOT / "docs" / "reference" / "outcomes.md"

INTRODUCTION = """\
# Outcomes

<!-- Written by `python -m tests.support.outcomes_page` from net/outcomes.py and dicom/status.py; a test compares. -->

What every answer of a peer, and every fault on the way to it, means for an instance that is to be delivered, and what to do
about it. [The design](../design/outcomes.md) says what the four outcomes lead to.

"""
_SECTIONS = (
    ("Rejected: A-ASSOCIATE-RJ", "result, source, reason (PS3.8 Table 9-21)", "A-ASSOCIATE-RJ "),
    ("Aborted: A-ABORT", "source, reason (PS3.8 Table 9-26)", "A-ABORT "),
    ("A DICOMweb service answers a request as a whole", "HTTP (RFC 9110 Section 15)", "HTTP "),
)
WORDS = {
    Outcome.DELIVERED: "delivered",
    Outcome.WARNING: "delivered, with a warning",
    Outcome.RETRY: "retry",
    Outcome.REFUSED: "needs attention",
}


def render() -> str:
    """The whole page."""
    rows = list(outcomes.TABLE)
    parts = [INTRODUCTION, "## Statuses of a C-STORE response\n\n", _statuses()]
    for title, head, prefix in _SECTIONS:
        parts += [
            f"\n## {title}\n\n",
            _table(head, [row for row in rows if row.fault.startswith(prefix)], prefix),
        ]
        rows = [row for row in rows if not row.fault.startswith(prefix)]
    parts += ["\n## Everything else\n\n", _table("fault", rows, "")]
    return "".join(parts)


def codes(row: StatusRow) -> str:
    """Such as 0000, A7xx, FF00 to FF01."""
    if row.first == row.last:
        return f"{row.first:04X}"
    if (row.first, row.last) == (0, 0xFFFF):
        return "any other"
    for digits in (2, 3):
        if row.last - row.first == 16**digits - 1:
            return f"{row.first:04X}"[: 4 - digits] + "x" * digits
    return f"{row.first:04X} to {row.last:04X}"


def _statuses() -> str:
    lines = ["| status | name | outcome | what to do | source |", "| --- | --- | --- | --- | --- |"]
    lines += [
        f"| {codes(row)} | {row.name} | {WORDS[row.outcome]} | {row.advice or '–'} | {row.reference or '–'} |"
        for row in STATUSES
    ]
    return "\n".join(lines) + "\n\nOf two rows that hold a status the upper one counts.\n"


def _table(head: str, rows: list[Row], prefix: str) -> str:
    lines = [f"| {head} | name | outcome | what to do |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {row.fault.removeprefix(prefix)} | {row.name} | {WORDS[row.outcome]} | {row.advice} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
    sys.stderr.write(f"written: {PAGE.name}\n")
