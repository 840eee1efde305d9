"""What the ledger says of stored instances, and what comes again after it was let go."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from archive import StoredInstance
from archive.removal import remove
from archive.retention import Stays
from archive.values import Selection
from dicomrelay.errors import ServiceUnavailable
from dicomrelay.ledger.values_operations import Subject, SubjectKind
from tests.support.rooms import rooms_at, spooled
from workers.archive_retention import LedgerDeliveries, retain
from workers.group import group_arrivals
from workers.keep import archive_batch, frames_batch, release_batch
from workers.rooms import Rooms

PACS = '[[destinations]]\nname = "pacs"\nae_title = "PACS"\nhost = "127.0.0.1"\nport = 1\n'
BY_SIZE = "[archive.retention]\nmax_bytes = 1\nmin_days = 0\n"
UID, STUDY = "1.2.3.4", "1.2.3"


@pytest.fixture
def rooms(tmp_path: Path) -> Iterator[Rooms]:
    """Nobody is to get anything: what is archived may go from the spool, and an archive over one byte is too large."""
    with rooms_at(tmp_path / "home", BY_SIZE) as (made, _):
        yield made


def stored(rooms: Rooms) -> list[StoredInstance]:
    return list(rooms.archive.instances(STUDY))


def why(rooms: Rooms) -> Stays | None:
    return LedgerDeliveries(rooms.ledger).needed(stored(rooms)).get(UID)


def test_it_may_go_when_the_relay_is_done_with_it(rooms: Rooms) -> None:
    """Archived, released by the spool, its frames prepared: not before."""
    spooled(rooms, UID)
    group_arrivals(rooms)
    archive_batch(rooms)
    assert why(rooms) is Stays.IN_WORK
    release_batch(rooms)
    assert why(rooms) is Stays.IN_WORK
    frames_batch(rooms)
    assert why(rooms) is None


def test_what_is_still_to_be_delivered_stays(tmp_path: Path) -> None:
    """One destination has not got it; nothing goes, however small the archive may be."""
    with rooms_at(tmp_path / "home", PACS + BY_SIZE) as (rooms, _):
        spooled(rooms, UID)
        group_arrivals(rooms)
        archive_batch(rooms)
        release_batch(rooms)
        frames_batch(rooms)

        assert why(rooms) is Stays.UNDELIVERED
        assert retain(rooms, threading.Event()) == {"studies_kept": 1}
        assert len(stored(rooms)) == 1


def test_a_delivery_that_is_ordered_later_holds_it_again(rooms: Rooms) -> None:
    """A job sends what was done with."""
    spooled(rooms, UID)
    group_arrivals(rooms)
    archive_batch(rooms)
    release_batch(rooms)
    frames_batch(rooms)
    spooled(rooms, UID, job_id="job-1", send_to=("OTHER@127.0.0.1:11113",))
    group_arrivals(rooms)

    assert why(rooms) is Stays.UNDELIVERED


def test_what_the_ledger_does_not_know_or_knows_otherwise(rooms: Rooms) -> None:
    """Imported, or other bytes."""
    spooled(rooms, UID)
    group_arrivals(rooms)
    archive_batch(rooms)
    [one] = stored(rooms)
    known = LedgerDeliveries(rooms.ledger)

    other = dataclasses.replace(one, digest="0" * 64)
    nobodys = dataclasses.replace(one, sop_instance_uid="9.9")

    assert known.needed([other, nobodys]) == {UID: Stays.OTHER_BYTES, "9.9": Stays.UNDOCUMENTED}


def done_with(rooms: Rooms) -> None:
    spooled(rooms, UID)
    group_arrivals(rooms)
    archive_batch(rooms)
    release_batch(rooms)
    frames_batch(rooms)


def test_what_is_in_conflict_stays(rooms: Rooms) -> None:
    """Other bytes are set aside, and somebody is to decide which are right: then both must be there."""
    done_with(rooms)
    spooled(rooms, UID, more=b"\x28\x00\x10\x00US\x02\x00\x01\x00")
    group_arrivals(rooms)

    assert why(rooms) is Stays.CONFLICT
    assert retain(rooms, threading.Event()) == {"studies_kept": 1}
    assert len(stored(rooms)) == 1


def test_a_standing_hold_on_a_study_that_is_done_keeps_it(rooms: Rooms) -> None:
    """For one destination too; released, it goes."""
    done_with(rooms)
    study = Subject(SubjectKind.STUDY, STUDY)
    rooms.ledger.operations.hold(study, destination="pacs")

    assert why(rooms) is Stays.HELD
    assert retain(rooms, threading.Event()) == {"studies_kept": 1}
    rooms.ledger.operations.release(study)
    assert retain(rooms, threading.Event())["studies"] == 1


def test_a_standing_hold_on_a_job_keeps_what_it_was_to_send(rooms: Rooms) -> None:
    """The job is over for this instance, and its order stands."""
    spooled(rooms, UID, job_id="job-1", send_to=("OTHER@127.0.0.1:11113",))
    group_arrivals(rooms)
    archive_batch(rooms)
    frames_batch(rooms)
    rooms.ledger.operations.cancel(Subject(SubjectKind.STUDY, STUDY), destination="OTHER@127.0.0.1:11113")
    release_batch(rooms)
    before = why(rooms)
    rooms.ledger.operations.hold(Subject(SubjectKind.JOB, "job-1"))

    assert (before, why(rooms)) == (None, Stays.HELD)


def test_it_goes_with_a_tombstone_and_a_line(rooms: Rooms) -> None:
    """The log names the study, and no patient."""
    done_with(rooms)

    with structlog.testing.capture_logs() as lines:
        gone = retain(rooms, threading.Event())

    assert gone["studies"] == gone["instances"] == 1
    assert stored(rooms) == []
    [line] = [line for line in lines if line.get("action") == "archive.retention"]
    assert line["study_instance_uid"] == STUDY
    assert rooms.archive.inventory().removed([UID])


def test_one_that_comes_again_after_it_was_let_go_is_archived_again(rooms: Rooms) -> None:
    """It was acknowledged: the copy is not spare because the first one was archived once."""
    done_with(rooms)
    retain(rooms, threading.Event())

    again = spooled(rooms, UID)
    group_arrivals(rooms)

    assert rooms.spool.verify(again.id) == again
    assert release_batch(rooms) == 0
    assert archive_batch(rooms) == 1
    assert [each.sop_instance_uid for each in stored(rooms)] == [UID]
    assert rooms.archive.path_of(stored(rooms)[0]).exists()
    assert release_batch(rooms) == 1
    assert frames_batch(rooms) == 1


def test_of_two_that_come_again_one_is_kept(rooms: Rooms) -> None:
    """In one batch."""
    done_with(rooms)
    [one] = stored(rooms)
    remove(rooms.archive, Selection(sop_instance_uids=(one.sop_instance_uid,)), reason="test", by="test")

    spooled(rooms, UID)
    spooled(rooms, UID)
    group_arrivals(rooms)

    assert (rooms.spool.usage().new, rooms.spool.usage().kept) == (0, 1)
    assert archive_batch(rooms) == 1
    assert len(stored(rooms)) == 1


def test_while_the_index_is_away_a_copy_waits(rooms: Rooms, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can say whether it is spare."""
    done_with(rooms)
    spooled(rooms, UID)

    def away(*_: object) -> dict[str, str]:
        raise ServiceUnavailable("the index does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(rooms.archive, "digests", away)
        group_arrivals(rooms)
        assert rooms.spool.usage().new == 1
    group_arrivals(rooms)
    assert (rooms.spool.usage().new, rooms.spool.usage().kept) == (0, 0)
