"""Requests for storage commitment in the archive's index, on both databases."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from archive import Archive
from archive.committing import CommitmentDesk
from archive.index import commitments as module
from archive.index.commitments import CommitmentIndex, State, Taken
from archive.index.schema import commitments
from archive.values import Policy, StoreOutcome, StoreRequest
from dicomrelay.dimse.commitment_request import CommitmentRequested, CommitmentResult
from dicomrelay.errors import ServiceUnavailable, SpoolError
from dicomrelay.ledger import Ledger
from tests.support.archive import pydicom_file, request_for
from tests.support.ledger import arrival

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
    (claimed,) = index.claim(limit=10, lease_ms=600_000)
    assert (claimed.transaction_uid, claimed.attempts, claimed.result) == ("2.25.1", 0, None)
    assert index.claim(limit=10, lease_ms=600_000) == []
    with index._database.write() as work:  # ten minutes later
        work.connection.exec_driver_sql(
            f"UPDATE archive_commitments SET due_ms = due_ms - 600000 WHERE id = {claimed.id}"
        )
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


# ---- other bytes under the same UID


def _other_bytes(request: StoreRequest, folder: Path) -> StoreRequest:
    """The same instance with its last bit flipped."""
    content = bytearray(request.source.read_bytes())
    content[-1] ^= 1
    path = folder / "other.dcm"
    path.write_bytes(content)
    return replace(request_for(path), sop_instance_uid=request.sop_instance_uid)


def _asked(desk: CommitmentDesk, request: StoreRequest, *, wait_ms: int = 60_000) -> CommitmentResult | None:
    wanted = CommitmentRequested("2.25.1", ((request.sop_class_uid, request.sop_instance_uid),))
    return desk.settled(desk.take("CT1", wanted, due_in_ms=0), wait_ms=wait_ms)


@pytest.mark.parametrize("policy", list(Policy))
def test_an_instance_that_came_with_other_bytes(empty_url: str, tmp_path: Path, policy: Policy) -> None:
    """Whoever sent the bytes that are not served must not delete them, whatever the policy does with them."""
    archive = Archive.open(tmp_path / "archive", database_url=empty_url, policy=policy)
    try:
        request = request_for(pydicom_file("CT_small.dcm"))
        (stored,) = archive.store([request])
        assert stored.outcome is StoreOutcome.STORED
        archive.store([_other_bytes(request, tmp_path)])
        result = _asked(CommitmentDesk(archive), request)
        assert result is not None
        assert result.committed == ()
        assert [reason for *_, reason in result.failed] == [0x0110]
    finally:
        archive.close()


def test_other_bytes_that_only_the_ledger_knows(archive: Archive, ledger: Ledger) -> None:
    """The relay sets them aside in its spool, and the archive never sees them."""
    request = request_for(pydicom_file("CT_small.dcm"))
    archive.store([request])
    came = replace(arrival(1), sop_instance_uid=request.sop_instance_uid, digest=request.digest)
    ledger.register([came])
    first = _asked(CommitmentDesk(archive, ledger.came), request)
    assert first is not None
    assert [uid for _, uid in first.committed] == [request.sop_instance_uid]
    ledger.register([replace(came, spool_id="spool-2", digest="f" * 64)])
    desk = CommitmentDesk(archive, ledger.came)
    wanted = CommitmentRequested("2.25.2", ((request.sop_class_uid, request.sop_instance_uid),))
    result = desk.settled(desk.take("CT1", wanted, due_in_ms=0), wait_ms=60_000)
    assert result is not None
    assert [reason for *_, reason in result.failed] == [0x0110]


def test_nothing_is_said_before_the_relay_has_judged_what_came(archive: Archive) -> None:
    """What was acknowledged before the request may be a conflict; who waits too long is told that we do not know."""
    request = request_for(pydicom_file("CT_small.dcm"))
    archive.store([request])
    asked: list[int] = []

    def waits(until_ms: int) -> bool:
        asked.append(until_ms)
        return True

    desk = CommitmentDesk(archive, waits=waits)
    assert _asked(desk, request) is None
    assert abs(asked[0] - time.time() * 1000) < 10_000
    result = _asked(desk, request, wait_ms=0)
    assert result is not None
    assert [reason for *_, reason in result.failed] == [0x0110]


def test_a_relay_that_does_not_answer_is_asked_again(archive: Archive) -> None:
    """Ledger and spool: neither's silence is a yes."""
    request = request_for(pydicom_file("CT_small.dcm"))
    archive.store([request])

    def away(_uids: Sequence[str]) -> dict[str, set[str]]:
        raise ServiceUnavailable("no ledger")

    def unreadable(_until_ms: int) -> bool:
        raise SpoolError("no spool")

    assert _asked(CommitmentDesk(archive, away), request) is None
    assert _asked(CommitmentDesk(archive, waits=unreadable), request) is None
    result = _asked(CommitmentDesk(archive), request)
    assert result is not None
    assert len(result.committed) == 1


# ---- what must not be believed


def test_the_bytes_on_the_disk_are_read(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a storage remembers of a file is not asked."""
    request = request_for(pydicom_file("CT_small.dcm"))
    archive.store([request])
    fresh: list[bool] = []
    real = archive.storage.digest

    def digest(relative_path: str, offset: int, **how: bool) -> str:
        fresh.append(how.get("fresh", False))
        return real(relative_path, offset, **how)

    monkeypatch.setattr(archive.storage, "digest", digest)
    assert _asked(CommitmentDesk(archive), request) is not None
    assert fresh == [True]


def test_what_is_over_keeps_its_attempts(index: CommitmentIndex) -> None:
    """A process that was late must not touch it."""
    _, kept = index.take("CT1", "2.25.1", "a", due_in_ms=0)
    assert kept is not None
    index.end(kept.id, State.ANSWERED)
    index.later(kept.id, due_in_ms=0, attempted=True)
    with index._database.read() as work:
        row = work.connection.execute(select(commitments)).one()
    assert (row.state, row.due_ms, row.attempts) == ("answered", None, 0)
