"""What the spool holds, by source: counted from names and records, right again after every listing."""

from __future__ import annotations

from pathlib import Path

import pytest

from dicomrelay.spool import Provenance, Spool, SpoolRecord
from dicomrelay.spool.holdings import Holdings
from tests.support.spool import DATA_SET, begin, store

SOURCES = {"CT_1": 0, "CT_2": 1}


def source_of(origin: Provenance) -> int:
    return SOURCES.get(origin.calling_ae_title, -1)


def stored(spool: Spool, title: str) -> SpoolRecord:
    return store(spool, provenance=Provenance(title, "DICOMRELAY", "10.0.0.7", "a1", 1))


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


def size(record: SpoolRecord) -> int:
    return record.data_set_offset + len(DATA_SET)


def test_what_lies_there_is_counted_wherever_it_lies(spool: Spool) -> None:
    """New, kept and set aside; as many bytes as its file has."""
    records = [stored(spool, title) for title in ("CT_1", "CT_1", "CT_1", "CT_2", "ELSE")]
    spool.settle([records[0].id])
    spool.set_aside([records[1].id])
    holdings = Holdings(spool.root, source_of)
    assert holdings.total() == 0
    assert holdings.look()
    one = size(records[0])
    assert holdings.by_source() == {0: (3, 3 * one), 1: (1, one), -1: (1, one)}
    assert one == spool.locate(records[0].id).stat().st_size
    assert (holdings.of(0), holdings.of(7), holdings.total()) == (3 * one, 0, 5 * one)


def test_what_is_gone_is_forgotten(spool: Spool) -> None:
    """And a second look at the same finds nothing."""
    records = [stored(spool, "CT_1") for _ in range(3)]
    holdings = Holdings(spool.root, source_of)
    holdings.look()
    spool.remove([records[0].id, records[2].id])
    assert holdings.look()
    assert not holdings.look()
    assert holdings.by_source() == {0: (1, size(records[1]))}


def test_an_item_that_moves_is_counted_once(spool: Spool) -> None:
    """From new to kept, whenever that is."""
    record = stored(spool, "CT_1")
    holdings = Holdings(spool.root, source_of)
    holdings.add(record)
    spool.settle([record.id])
    assert holdings.look()
    assert not holdings.look()
    holdings.add(record)
    assert holdings.of(0) == size(record)


def test_what_is_committed_during_a_listing_is_not_taken_for_gone(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its folder was read before it came."""
    holdings = Holdings(spool.root, source_of)
    from dicomrelay.spool import holdings as module  # noqa: PLC0415

    really = module.item_names
    late: list[SpoolRecord] = []

    def names(folder: Path) -> list[str]:
        found = list(really(folder))
        if not late:
            late.append(stored(spool, "CT_1"))
            holdings.add(late[0])
        return found

    monkeypatch.setattr(module, "item_names", names)
    holdings.look()
    assert holdings.of(0) == size(late[0])
    monkeypatch.undo()
    holdings.look()
    assert holdings.of(0) == size(late[0])


def test_what_is_being_written_or_cannot_be_trusted_is_not_counted(spool: Spool) -> None:
    """A `.part` has no record yet; a damaged item is put away by whoever registers it."""
    writer = begin(spool)
    damaged = stored(spool, "CT_1")
    path = spool.root / "new" / f"{damaged.id}.dcm"
    path.write_bytes(path.read_bytes()[:-1])
    holdings = Holdings(spool.root, source_of)
    assert not holdings.look()
    writer.abandon()


def test_a_look_that_is_stopped_leaves_the_rest_to_the_next(spool: Spool) -> None:
    """A gateway that is told to stop does not read a million records first."""
    for _ in range(5):
        stored(spool, "CT_1")
    holdings = Holdings(spool.root, source_of)
    asked: list[int] = []
    holdings.look(lambda: bool(asked.append(1)) or len(asked) > 2)
    assert holdings.by_source()[0][0] == 2
    holdings.look()
    assert holdings.by_source()[0][0] == 5
