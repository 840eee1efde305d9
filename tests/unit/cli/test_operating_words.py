"""What the verbs of `jobs` say: what was done, what was left and why, and the next step."""

from __future__ import annotations

from typing import Any

import pytest

from dicomrelay.cli.operating.words import lines, next_line
from dicomrelay.ledger import TransferState
from dicomrelay.ledger.values_operations import (
    Change,
    Changed,
    OrderKind,
    StandingOrder,
    Subject,
    SubjectKind,
    Verb,
)

STUDY = Subject(SubjectKind.STUDY, "1.2.3")
HOLD = StandingOrder("1.2.3", "", OrderKind.HOLD, 1)


def _changed(verb: Verb, *changes: tuple[TransferState, TransferState], **more: Any) -> Changed:
    made = tuple(
        Change(f"t{number}", "1.2.3", "pacs", "", before, after, 200)
        for number, (before, after) in enumerate(changes)
    )
    return Changed(verb, STUDY, "", made, **more)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            _changed(Verb.HOLD, (TransferState.RUNNING, TransferState.HELD), orders=(HOLD,)),
            [
                "study 1.2.3: 1 transfer with 200 instances to pacs held",
                "    1 of them ran: the runner stops after the instance that is under way; what was answered counts",
                "    in force: what comes of this study later is held too",
            ],
        ),
        (
            _changed(Verb.HOLD, orders=(HOLD,), ungrouped=1),
            [
                "study 1.2.3: nothing to hold",
                "    1 instance not made into transfers yet",
                "    in force: what comes of this study later is held too",
            ],
        ),
        (
            _changed(Verb.RELEASE, lifted=(HOLD,), unchanged={TransferState.HELD: 2}, held_by=("job-1",)),
            [
                "study 1.2.3: nothing to release",
                "    2 left: held",
                "    no order is in force any more: what comes later goes its way",
                "    some of it is held by the order on job-1: `dicomrelay jobs release job-1` takes that away",
            ],
        ),
        (
            _changed(
                Verb.RETRY,
                (TransferState.WAITING, TransferState.READY),
                (TransferState.NEEDS_ATTENTION, TransferState.READY),
                unchanged={TransferState.CANCELLED: 1},
                stages=3,
            ),
            [
                "study 1.2.3: 2 transfers with 400 instances to pacs tried again now",
                "    3 instances: archive or frames are tried again",
                "    1 left: cancelled: `dicomrelay jobs replay` sends them after all",
            ],
        ),
        (
            _changed(Verb.RETRY, (TransferState.NEEDS_ATTENTION, TransferState.HELD), held_by=("1.2.3",)),
            [
                "study 1.2.3: 1 transfer held, to be tried when released",
                "    some of it is held by the order on 1.2.3: `dicomrelay jobs release 1.2.3` takes that away",
            ],
        ),
    ],
)
def test_what_was_done_is_said(changed: Changed, said: list[str]) -> None:
    assert list(lines(changed)) == said


@pytest.mark.parametrize(
    ("verb", "runs", "said"),
    [
        (Verb.HOLD, True, "next: `dicomrelay jobs release 1.2.3` lets it go"),
        (
            Verb.RELEASE,
            True,
            "next: it is sent within seconds; `dicomrelay jobs show 1.2.3` tells how it goes",
        ),
        (Verb.RETRY, False, "next: nothing runs on this home: it is sent when `dicomrelay up` runs"),
        (
            Verb.CANCEL,
            True,
            "next: nothing; if it was a mistake, `dicomrelay jobs replay 1.2.3` sends it after all",
        ),
    ],
)
def test_the_next_step(verb: Verb, runs: bool, said: str) -> None:
    changed = _changed(verb, (TransferState.WAITING, TransferState.READY))

    assert next_line(verb, [STUDY], [changed], runs=runs) == said
