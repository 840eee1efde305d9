"""Requests for storage commitment in the archive's index, on both databases."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from archive import Archive
from archive.committing import CommitmentDesk
from archive.index import commitments as module
from archive.index.commitments import CommitmentIndex, State, Taken
from dicomrelay.dimse.commitment_request import CommitmentRequested
from tests.support.archive import pydicom_file, request_for

CT = "1.2.840.10008.5.1.4.1.1.2"


@pytest.fixture
def archive(empty_url: str, tmp_path: Path) -> Iterator[Archive]:
    opened = Archive.open(tmp_path / "archive", database_url=empty_url)
    yield opened
    opened.close()


@pytest.fixture
def index(archive: Archive) -> CommitmentIndex:
    return archive.commitments


def test_a_request_is_kept_once(index: CommitmentIndex) -> None:
    """The same again is the same row; the same transaction for something else is not taken, of another peer it is."""
    taken, first = index.take("CT1", "2.25.1", "a", due_in_ms=0)
    assert (taken, first is not None) == (Taken.KEPT, True)
    assert first is not None
    index.end(first.id, State.ANSWERED)
    taken, again = index.take("CT1", "2.25.1", "a", due_in_ms=0)
    assert taken is Taken.AGAIN
    assert again is not None
    assert again.id == first.id
    assert index.counts() == {"pending": 1}
    assert index.take("CT1", "2.25.1", "b", due_in_ms=0) == (Taken.OTHER, None)
    assert index.take("CT2", "2.25.1", "b", due_in_ms=0)[0] is Taken.KEPT
    assert index.counts() == {"pending": 2}


def test_one_claim_at_a_time(index: CommitmentIndex) -> None:
    """What is claimed is nobody else's for so long; what is not due yet is nobody's."""
    index.take("CT1", "2.25.1", "a", due_in_ms=0)
    index.take("CT1", "2.25.2", "a", due_in_ms=60_000)
    (claimed,) = index.claim(limit=10, lease_ms=100)
    assert (claimed.transaction_uid, claimed.attempts, claimed.result) == ("2.25.1", 0, None)
    assert index.claim(limit=10, lease_ms=100) == []
    time.sleep(0.15)
    (again,) = index.claim(limit=10, lease_ms=60_000)
    assert again.id == claimed.id
    index.later(again.id, due_in_ms=0, attempted=True)
    (third,) = index.claim(limit=10, lease_ms=60_000)
    assert third.attempts == 1
    index.end(third.id, State.FAILED)
    index.later(third.id, due_in_ms=0, attempted=True)  # what is over is not due again
    assert index.claim(limit=10, lease_ms=0) == []
    assert index.counts() == {"failed": 1, "pending": 1}


def test_what_is_said_stays_said(index: CommitmentIndex) -> None:
    """The first result is kept, and a duplicate of the request has it."""
    _, kept = index.take("CT1", "2.25.1", "a", due_in_ms=0)
    assert kept is not None
    assert index.resolve(kept.id, "first") == "first"
    assert index.resolve(kept.id, "second") == "first"
    _, again = index.take("CT1", "2.25.1", "a", due_in_ms=0)
    assert again is not None
    assert again.result == "first"


def test_what_is_over_is_forgotten_in_time(index: CommitmentIndex) -> None:
    """What is pending never is."""
    _, over = index.take("CT1", "2.25.1", "a", due_in_ms=0)
    index.take("CT1", "2.25.2", "a", due_in_ms=0)
    assert over is not None
    index.end(over.id, State.ANSWERED)
    assert index.prune(older_than_ms=60_000) == 0
    time.sleep(0.01)
    assert index.prune(older_than_ms=1) == 1
    assert index.counts() == {"pending": 1}


def test_there_is_an_end_to_what_waits(index: CommitmentIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that asks and asks fills a bound and no more; what is here already may be asked again."""
    monkeypatch.setattr(module, "MAX_PENDING", 2)
    index.take("CT1", "2.25.1", "a", due_in_ms=0)
    index.take("CT1", "2.25.2", "a", due_in_ms=0)
    assert index.take("CT1", "2.25.3", "a", due_in_ms=0) == (Taken.FULL, None)
    assert index.take("CT1", "2.25.1", "a", due_in_ms=0)[0] is Taken.AGAIN


def test_presence_class_and_digest(archive: Archive, tmp_path: Path) -> None:
    """Committed, class conflict, one flipped bit, a file that is gone, and one that is not there yet."""
    names = ("CT_small.dcm", "MR_small.dcm", "rtplan.dcm", "waveform_ecg.dcm")
    requests = [request_for(pydicom_file(name)) for name in names]
    archive.store(requests)
    good, other_class, flipped, gone = requests
    for request, damage in ((flipped, "flip"), (gone, "gone")):
        path = archive.locate(
            request.study_instance_uid, request.series_instance_uid, request.sop_instance_uid
        )
        if damage == "gone":
            path.unlink()
            continue
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.chmod(0o600)
        path.write_bytes(content)
    wanted = CommitmentRequested(
        "2.25.1",
        (
            (good.sop_class_uid, good.sop_instance_uid),
            ("1.2.3", other_class.sop_instance_uid),
            (flipped.sop_class_uid, flipped.sop_instance_uid),
            (gone.sop_class_uid, gone.sop_instance_uid),
            (CT, "1.2.3.4"),
        ),
    )
    desk = CommitmentDesk(archive)
    kept = desk.take("CT1", wanted, due_in_ms=0)
    assert desk.settled(kept, wait_ms=60_000) is None  # the last may still come
    assert desk.settled(kept, wait_ms=0, keep_going=lambda: False) is None
    result = desk.settled(kept, wait_ms=0)
    assert result is not None
    assert result.committed == ((good.sop_class_uid, good.sop_instance_uid),)
    assert {uid: reason for _, uid, reason in result.failed} == {
        other_class.sop_instance_uid: 0x0119,
        flipped.sop_instance_uid: 0x0110,
        gone.sop_instance_uid: 0x0110,
        "1.2.3.4": 0x0112,
    }
    assert [uid for _, uid, _ in result.failed] == [uid for _, uid in wanted.references[1:]]
    again = desk.take("CT1", wanted, due_in_ms=0)
    assert again.id == kept.id
    assert desk.settled(again, wait_ms=60_000) == result  # said once, and told as it was
