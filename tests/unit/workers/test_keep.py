"""The stages inside the house: what leaves the spool, whose bytes are shared, and what the log says."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from archive import Archive, Policy, StoreOutcome, StoreRequest, StoreResult
from archive.values import FrameSummary
from dicomrelay.dicom.scan import Header
from dicomrelay.errors import InstanceNotFound
from dicomrelay.ledger import Ledger
from dicomrelay.ledger.engine import Database
from dicomrelay.ledger.values import AttentionKind
from dicomrelay.spool import Provenance, SpoolRecord
from tests.support.archive import pydicom_file, request_for
from tests.support.archive_writing import instance
from tests.support.rooms import rooms_at, spooled
from workers.group import group_arrivals
from workers.keep import archive_batch, frames_batch, release_batch
from workers.rooms import Rooms

CANARY = "CANARY-4711"


@pytest.fixture
def rooms(tmp_path: Path) -> Iterator[Rooms]:
    """Rooms with no destination: what is archived may go from the spool."""
    with rooms_at(tmp_path / "home") as (made, _):
        yield made


def _referred_to(rooms: Rooms, file: Path) -> SpoolRecord:
    """A file that is read where it lies, committed to the spool."""
    request = request_for(file)
    return rooms.spool.add_reference(
        file,
        header=Header(
            request.sop_class_uid,
            request.sop_instance_uid,
            request.study_instance_uid,
            request.series_instance_uid,
            request.modality,
        ),
        transfer_syntax_uid=request.transfer_syntax_uid,
        data_set_offset=request.data_set_offset,
        data_set_bytes=request.data_set_bytes,
        digest=request.digest,
        provenance=Provenance("CT_1", "DICOMRELAY", "127.0.0.1", "a1", 1, ""),
    )


class _SomethingHappens(Ledger):
    """Between what is found releasable and what is done about it."""

    def __init__(self, database: Database, happens: Callable[[], object]) -> None:
        super().__init__(database)
        self._happens = happens

    def releasable(self, *, host: str, limit: int, keep_ms: int = 0) -> list[str]:
        found = super().releasable(host=host, limit=limit)
        self._happens()
        return found


def test_an_item_that_gets_a_new_delivery_while_it_is_being_released_stays(rooms: Rooms) -> None:
    """A job sends again what was about to go: the bytes that it needs are still there."""
    record = spooled(rooms, "1.2.3.4")
    group_arrivals(rooms)
    archive_batch(rooms)

    def send_it_again() -> None:
        spooled(rooms, "1.2.3.4", job_id="job-1", send_to=("OTHER@127.0.0.1:11113",))
        group_arrivals(rooms)

    release_batch(replace(rooms, ledger=_SomethingHappens(rooms.ledger._database, send_it_again)))

    assert rooms.spool.verify(record.id) == record
    assert rooms.ledger.released([record.id]) == []


def test_without_a_new_delivery_the_same_item_goes(rooms: Rooms) -> None:
    """The control of the test above."""
    record = spooled(rooms, "1.2.3.4")
    group_arrivals(rooms)
    archive_batch(rooms)

    release_batch(replace(rooms, ledger=_SomethingHappens(rooms.ledger._database, lambda: None)))

    assert rooms.spool.usage().kept == 0
    assert rooms.ledger.released([record.id]) == [record.id]


def test_what_a_user_writes_to_his_own_file_does_not_reach_the_archive(rooms: Rooms, tmp_path: Path) -> None:
    """A spool item may be the archive's file under a second name; a file that is read where it lies never is."""
    file = tmp_path / "mine.dcm"
    shutil.copyfile(pydicom_file("CT_small.dcm"), file)
    before = file.read_bytes()
    ours = spooled(rooms, "1.2.3.4")
    theirs = _referred_to(rooms, file)
    group_arrivals(rooms)
    assert archive_batch(rooms) == 2
    stored = rooms.archive.locate(
        theirs.study_instance_uid, theirs.series_instance_uid, theirs.sop_instance_uid
    )

    with file.open("r+b") as mine:
        mine.write(bytes(len(before)))

    assert stored.read_bytes() == before
    assert not stored.samefile(file)
    # The control: this file system can link, and does for what is ours.
    assert rooms.archive.locate("1.2.3", "1.2.3.1", "1.2.3.4").samefile(rooms.spool.locate(ours.id))


@pytest.mark.parametrize("policy", [Policy.KEEP_FIRST, Policy.REPLACE, Policy.REFUSE])
def test_what_meets_other_bytes_in_the_archive_is_archived_or_listed(
    rooms: Rooms, tmp_path: Path, policy: Policy
) -> None:
    """Only what takes the place of the other is archived; else it needs attention, and the spool keeps it."""
    held = instance(tmp_path / "in", 4, study="1.2", series=3)
    rooms.archive.policy = policy
    record = spooled(rooms, held.sop_instance_uid)
    group_arrivals(rooms)
    # Had it been there before, grouping would have set the second one aside in the spool.
    rooms.archive.store([held])

    archive_batch(rooms)
    release_batch(rooms)

    is_replaced = policy is Policy.REPLACE
    served = rooms.archive.digests([held.sop_instance_uid])[held.sop_instance_uid]
    assert served == (record.digest if is_replaced else held.digest)
    kinds = [each.kind for each in rooms.ledger.needs_attention()]
    assert kinds == ([] if is_replaced else [AttentionKind.ARCHIVE])
    assert rooms.spool.usage().kept == (0 if is_replaced else 1)
    [listed] = rooms.archive.conflicts()
    assert listed.digest == (held.digest if is_replaced else record.digest)


class _ArchiveNamesPaths(Archive):
    """Fails, and names a path, when something is to be stored or prepared."""

    def store(self, items: Sequence[StoreRequest]) -> list[StoreResult]:
        return [
            StoreResult(
                item.sop_instance_uid, StoreOutcome.CONFLICT, reason=f"/archive/{CANARY}/x: taken (test)"
            )
            for item in items
        ]

    def prepare_frames(self, relative_path: str) -> FrameSummary:
        raise InstanceNotFound(f"/archive/{CANARY}/{relative_path}: is not there (test)")


@pytest.mark.parametrize(
    ("stage", "kind", "words"),
    [
        (archive_batch, AttentionKind.ARCHIVE, "not archived"),
        (frames_batch, AttentionKind.FRAMES, "not frames prepared"),
    ],
)
def test_a_path_in_the_reason_of_a_failed_stage_stays_out_of_the_log(
    rooms: Rooms,
    stage: Callable[[Rooms], int],
    kind: AttentionKind,
    words: str,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A path in the archive begins with the id of the patient; the ledger keeps it for a person who looks."""
    spooled(rooms, "1.2.3.4")
    group_arrivals(rooms)
    if stage is frames_batch:
        archive_batch(rooms)
    with (
        closing(_ArchiveNamesPaths.open(rooms.settings.archive_path)) as failing,
        caplog.at_level(logging.DEBUG),
    ):
        stage(replace(rooms, archive=failing))

    (row,) = rooms.ledger.needs_attention()
    assert row.kind is kind
    assert CANARY in row.reason
    printed = "".join(capsys.readouterr()) + caplog.text
    assert words in printed
    assert row.instance_id in printed
    assert CANARY not in printed
