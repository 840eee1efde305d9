"""Answers outlive the process that got them."""

from __future__ import annotations

import json
import os
import time
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from dicomrelay.ledger.values import ClaimedTransfer, DeliveryOutcome, DeliveryState
from dicomrelay.ledger.values_evidence import SentFacts
from tests.support.claims import claimed_of
from workers.answers import AnswerJournal, left_by_the_last, sweep


def _delivered(instance_id: str, **more: object) -> DeliveryOutcome:
    plain = DeliveryOutcome(
        instance_id,
        DeliveryState.DELIVERED,
        0,
        "",
        "a1",
        2000,
        12,
        SentFacts("1.2.840.10008.1.2.1", "", "US", "PACS", "h:104"),
    )
    return replace(plain, **more)  # type: ignore[arg-type]


@pytest.fixture
def killed(tmp_path: Path) -> ClaimedTransfer:
    """A claim of five instances, of which three were answered."""
    claimed = claimed_of(5, fence=7)
    journal = AnswerJournal(tmp_path / "answers", claimed)
    journal.note(_delivered("i0"))
    journal.note(_delivered("i1", state=DeliveryState.WARNING, status=0xB000, reason="coerced"))
    journal.note(_delivered("i2", state=DeliveryState.REFUSED, status=0xC000))
    journal.note(_delivered("i3"))
    return claimed


def _next(claimed: ClaimedTransfer, fence: int = 8) -> ClaimedTransfer:
    return replace(claimed, fence=fence)


def test_the_next_claim_finds_what_was_delivered(tmp_path: Path, killed: ClaimedTransfer) -> None:
    """With everything that the ledger wants to know; a refusal is asked for again."""
    found = left_by_the_last(tmp_path / "answers", _next(killed))
    assert [(each.instance_id, each.state, each.status) for each in found] == [
        ("i0", DeliveryState.DELIVERED, 0),
        ("i1", DeliveryState.WARNING, 0xB000),
        ("i3", DeliveryState.DELIVERED, 0),
    ]
    assert found[1].reason == "coerced"
    assert found[0].sent is not None
    assert found[0] == _delivered("i0", sent=replace(found[0].sent, ago_ms=found[0].sent.ago_ms))
    assert 0 <= found[0].sent.ago_ms < 10_000


def test_what_is_not_to_be_sent_any_more_is_nobodys_answer(tmp_path: Path, killed: ClaimedTransfer) -> None:
    """The ledger had heard of it, or somebody has cancelled it."""
    left = replace(_next(killed), deliveries=killed.deliveries[3:])
    assert [each.instance_id for each in left_by_the_last(tmp_path / "answers", left)] == ["i3"]


@pytest.mark.parametrize("fence", [7, 9, 10])
def test_only_the_claim_right_after_counts(tmp_path: Path, killed: ClaimedTransfer, fence: int) -> None:
    """The ledger has moved on since an older one; and nobody takes up himself."""
    assert left_by_the_last(tmp_path / "answers", _next(killed, fence)) == []


@pytest.mark.parametrize("cut", [1, 5, 100])
def test_a_file_without_its_end_is_read_as_far_as_it_is_whole(
    tmp_path: Path, killed: ClaimedTransfer, cut: int
) -> None:
    """A power cut may take it, or leave zeros."""
    (path,) = (tmp_path / "answers").iterdir()
    content = path.read_bytes()
    path.write_bytes(content[:-cut] + bytes(cut))
    assert [each.instance_id for each in left_by_the_last(tmp_path / "answers", _next(killed))] == [
        "i0",
        "i1",
    ]


def test_the_lines_of_another_version_count_for_nothing(tmp_path: Path, killed: ClaimedTransfer) -> None:
    """It is no error: the instances are sent once more."""
    (path,) = (tmp_path / "answers").iterdir()
    text = json.dumps({"instance_id": "i0", "colour": "red"}).encode()
    path.write_bytes(b"%08x %s\n" % (zlib.crc32(text), text))
    assert left_by_the_last(tmp_path / "answers", _next(killed)) == []


def test_the_end_of_an_attempt_leaves_nothing(tmp_path: Path) -> None:
    """But where the ledger did not take all of it."""
    folder = tmp_path / "answers"
    for number, keep in ((1, False), (2, True)):
        journal = AnswerJournal(folder, claimed_of(1, fence=number))
        journal.note(_delivered("i0"))
        journal.end(keep=keep)
        journal.note(_delivered("i0"))
    assert [path.name.rpartition(".")[2] for path in folder.iterdir()] == ["2"]
    assert (folder.stat().st_mode & 0o777, next(folder.iterdir()).stat().st_mode & 0o777) == (0o700, 0o600)


def test_a_disk_that_takes_nothing_costs_nothing_else(tmp_path: Path) -> None:
    """The folder's place is taken by a file."""
    (tmp_path / "answers").write_bytes(b"")
    journal = AnswerJournal(tmp_path / "answers", claimed_of(1, fence=1))
    journal.note(_delivered("i0"))
    journal.end()
    assert left_by_the_last(tmp_path / "answers", claimed_of(1, fence=2)) == []


def test_what_nobody_came_back_for_is_removed_after_a_day(tmp_path: Path, killed: ClaimedTransfer) -> None:
    """And not before."""
    folder = tmp_path / "answers"
    assert killed.fence == 7
    assert sweep(folder) == 0
    assert sweep(folder, now_s=time.time() + 90_000) == 1
    assert os.listdir(folder) == []
    assert sweep(tmp_path / "nothing") == 0
