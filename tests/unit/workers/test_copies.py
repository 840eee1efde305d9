"""An instance that comes again: the table of docs/design/archive-writing.md, row by row, on a real spool, ledger and archive."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from archive.removal import remove
from archive.values import Selection
from dicomrelay.errors import SpoolCorrupt
from dicomrelay.ledger.values import InstanceFacts
from dicomrelay.spool import SpoolRecord
from tests.support.rooms import rooms_at, spooled
from workers.group import group_arrivals
from workers.keep import archive_batch, frames_batch, release_batch
from workers.rooms import Rooms

UID, STUDY = "1.2.3.4", "1.2.3"


@pytest.fixture
def rooms(tmp_path: Path) -> Iterator[Rooms]:
    """Nobody is to get anything: what is archived may go from the spool. One more instance is in the archive."""
    with rooms_at(tmp_path / "home") as (made, _):
        spooled(made, "1.2.9.1", study="1.2.9")
        group_arrivals(made)
        archive_batch(made)
        release_batch(made)
        yield made


def _rewritten(path: Path, content: bytes) -> None:
    """As another file: the archive's may be a second name of the spool's."""
    path.unlink()
    path.write_bytes(content)


def _flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    _rewritten(path, bytes(content))


def _file(rooms: Rooms) -> Path:
    return rooms.archive.locate(STUDY, f"{STUDY}.1", UID)


def _whole(_: Rooms) -> None:
    """Nothing is done to the archive."""


def _gone(rooms: Rooms) -> None:
    _file(rooms).unlink()


def _cut_short(rooms: Rooms) -> None:
    _rewritten(_file(rooms), _file(rooms).read_bytes()[:-1])


def _found_damaged(rooms: Rooms) -> None:
    _flipped(_file(rooms))
    with rooms.archive._database.write() as work:
        work.connection.exec_driver_sql(
            f"UPDATE archive_instances SET damage = 'digest' WHERE sop_instance_uid = '{UID}'"
        )


def _removed(rooms: Rooms) -> None:
    remove(rooms.archive, Selection(sop_instance_uids=(UID,)), reason="test", by="test")


def _stays(_: Rooms, __: SpoolRecord) -> None:
    """Nothing is done to the spool item."""


def _decayed(rooms: Rooms, record: SpoolRecord) -> None:
    _flipped(rooms.spool.locate(record.id))


def _listed_as_lost(rooms: Rooms, record: SpoolRecord) -> None:
    rooms.spool.remove([record.id])
    archive_batch(rooms)
    assert rooms.ledger.needs_attention()


def _released(rooms: Rooms, _: SpoolRecord) -> None:
    assert release_batch(rooms) == 1


@dataclass(frozen=True)
class Row:
    """A row of the table; `becomes_the_file`: the copy; `archived`: so many are archived afterwards."""

    item: Callable[[Rooms, SpoolRecord], None]
    archive: Callable[[Rooms], None] | None  # None: it is not archived yet
    becomes_the_file: bool
    archived: int

    def __str__(self) -> str:
        return f"{self.item.__name__[1:]}-{self.archive.__name__[1:] if self.archive else 'not_yet'}"


_LOST = (_gone, _cut_short, _found_damaged, _removed)
TABLE = (
    Row(_stays, None, becomes_the_file=False, archived=1),
    Row(_decayed, None, becomes_the_file=True, archived=1),
    Row(_listed_as_lost, None, becomes_the_file=True, archived=1),
    Row(_stays, _whole, becomes_the_file=False, archived=0),
    Row(_decayed, _whole, becomes_the_file=True, archived=0),
    Row(_released, _whole, becomes_the_file=False, archived=0),
    *(Row(_stays, how, becomes_the_file=False, archived=1) for how in _LOST),
    *(Row(_decayed, how, becomes_the_file=True, archived=1) for how in _LOST),
    *(Row(_released, how, becomes_the_file=True, archived=1) for how in _LOST),
)


def _facts(rooms: Rooms) -> InstanceFacts:
    return rooms.ledger.inventory.kept([UID])[UID].facts


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_what_comes_again_is_in_the_archive_whole_afterwards(rooms: Rooms, row: Row) -> None:
    """Whatever became of it before; of two copies one is too many."""
    first = spooled(rooms, UID)
    group_arrivals(rooms)
    if row.archive is not None:
        archive_batch(rooms)
    row.item(rooms, first)
    if row.archive is not None:
        row.archive(rooms)

    copy, _ = spooled(rooms, UID), spooled(rooms, UID)
    group_arrivals(rooms)

    assert rooms.spool.usage().new == 0
    assert rooms.spool.usage().kept == (0 if row.item is _released and not row.becomes_the_file else 1)
    assert _facts(rooms).spool_id == (copy.id if row.becomes_the_file else first.id)
    if row.archived:
        assert release_batch(rooms) == 0
    assert archive_batch(rooms) == row.archived
    assert not rooms.ledger.needs_attention()
    release_batch(rooms)
    frames_batch(rooms)
    assert rooms.spool.usage().kept == 0
    stored = rooms.archive.find(STUDY, f"{STUDY}.1", UID)
    assert rooms.archive.inventory().digest_of(stored) == first.digest
    assert rooms.archive.inventory().whole([UID]) == {UID}


@pytest.mark.parametrize("item", [_stays, _released])
def test_a_copy_waits_while_the_archive_is_not_mounted(
    rooms: Rooms, item: Callable[[Rooms, SpoolRecord], None]
) -> None:
    """Then every file seems to be gone; when it is back, the copy is spare."""
    first = spooled(rooms, UID)
    group_arrivals(rooms)
    archive_batch(rooms)
    item(rooms, first)
    data = rooms.archive.layout.root / "data"
    away = data.with_name("elsewhere")
    data.rename(away)
    data.mkdir()

    copy = spooled(rooms, UID)
    group_arrivals(rooms)
    assert rooms.spool.usage().new == 1

    data.rmdir()
    away.rename(data)
    group_arrivals(rooms)
    assert rooms.spool.usage().new == 0
    with pytest.raises(SpoolCorrupt):
        rooms.spool.locate(copy.id)


def test_a_damaged_copy_takes_the_place_of_nothing(rooms: Rooms) -> None:
    """It is put away, and the next one that is whole is archived."""
    first = spooled(rooms, UID)
    group_arrivals(rooms)
    archive_batch(rooms)
    _released(rooms, first)
    _gone(rooms)
    _flipped(rooms.spool.locate(spooled(rooms, UID).id))
    group_arrivals(rooms)
    assert (rooms.spool.usage().kept, rooms.spool.usage().corrupt) == (0, 1)

    spooled(rooms, UID)
    group_arrivals(rooms)
    assert archive_batch(rooms) == 1
    assert rooms.archive.inventory().whole([UID]) == {UID}


def test_one_that_was_released_since_it_was_asked_for_is_archived_from_the_copy(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker releases the item in between."""
    spooled(rooms, UID)
    group_arrivals(rooms)
    archive_batch(rooms)
    _removed(rooms)
    copy = spooled(rooms, UID)
    verify = rooms.spool.verify

    def released_then(spool_id: str) -> SpoolRecord:
        record = verify(spool_id)
        release_batch(rooms)
        return record

    monkeypatch.setattr(rooms.spool, "verify", released_then)
    group_arrivals(rooms)

    assert _facts(rooms).spool_id == copy.id
    assert archive_batch(rooms) == 1
    assert rooms.archive.inventory().whole([UID]) == {UID}
