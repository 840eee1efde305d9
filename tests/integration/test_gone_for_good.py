"""Deliveries of what left the spool, and of which the archive has no file: said at once, in words without a path."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from archive.removal import remove
from archive.values import Selection
from dicomrelay.ledger.values import InstanceFacts
from tests.support.archive_command import ArchiveCommand
from tests.support.engine import MemoryService, Running, running_acceptor
from tests.support.rooms import rooms_at, spooled, transfers_of
from workers.forward import forward_transfer
from workers.group import group_arrivals
from workers.keep import archive_batch, frames_batch, release_batch
from workers.rooms import Rooms

HERE, GONE = "1.2.3.4", "1.2.3.5"
UNROUTED = '[[rules]]\nwhen.modality = "CT"\nsend_to = []\n'


@pytest.fixture
def peer() -> Iterator[Running]:
    """A peer that accepts all."""
    with running_acceptor(MemoryService()) as running:
        yield running


@pytest.fixture
def rooms(tmp_path: Path, peer: Running) -> Iterator[Rooms]:
    """Two instances of a study that only the archive has, and a destination that has not got them."""
    toml = (
        f'[[destinations]]\nname = "pacs"\nae_title = "RELAY"\nhost = "127.0.0.1"\nport = {peer.port}\n'
        "retry_initial_s = 0.001\nretry_max_s = 0.001\n" + UNROUTED
    )
    with rooms_at(tmp_path / "home", toml) as (made, _):
        for uid in (HERE, GONE):
            spooled(made, uid)
        group_arrivals(made)
        archive_batch(made)
        frames_batch(made)
        assert release_batch(made) == 2
        yield made


@pytest.fixture
def jobs(rooms: Rooms, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> ArchiveCommand:
    """`dicomrelay` on that home."""
    return ArchiveCommand(rooms.settings.home, monkeypatch, capsys)


def _facts(rooms: Rooms) -> InstanceFacts:
    return rooms.ledger.inventory.kept([GONE])[GONE].facts


def _file(rooms: Rooms) -> Path:
    return rooms.archive.locate("1.2.3", "1.2.3.1", GONE)


def _removed(rooms: Rooms) -> None:
    remove(rooms.archive, Selection(sop_instance_uids=(GONE,)), reason="test", by="test")


def _without_a_file(rooms: Rooms) -> None:
    _file(rooms).unlink()


_WAYS = [(_removed, "it was removed"), (_without_a_file, "its file in the archive is gone")]


@pytest.mark.parametrize(("goes", "_"), _WAYS)
def test_replay_names_what_is_gone_and_queues_the_rest(
    rooms: Rooms, jobs: ArchiveCommand, goes: Callable[[Rooms], None], _: str
) -> None:
    """Exit code 1; with nothing gone it is 0."""
    goes(rooms)

    told = jobs.run("jobs", "replay", "1.2.3", "--to", "pacs", "--json")
    assert (told.code, told.json["queued"], told.json["gone"]) == (1, 1, [GONE])
    told = jobs.run("jobs", "replay", "1.2.3", "--to", "pacs", "--instances", GONE)
    assert told.code == 1
    assert f"1 left out: not here any more: {GONE}" in told.err
    assert "send it again from where it came" in told.err


def test_replay_queues_what_the_archive_has(rooms: Rooms, jobs: ArchiveCommand, peer: Running) -> None:
    """And it is sent."""
    told = jobs.run("jobs", "replay", "1.2.3", "--to", "pacs", "--json")
    (transfer,) = transfers_of(rooms)
    forward_transfer(rooms, transfer)

    assert (told.code, told.json["queued"], told.json["gone"]) == (0, 2, [])
    assert len(peer.service.stored) == 2


@pytest.mark.parametrize(("goes", "words"), _WAYS)
def test_what_goes_after_it_was_queued_needs_attention_at_once_and_is_sent_when_it_comes_again(
    rooms: Rooms, jobs: ArchiveCommand, peer: Running, goes: Callable[[Rooms], None], words: str
) -> None:
    """Time does not mend it; the rest is sent, and nothing that is said is a path."""
    assert jobs.run("jobs", "replay", "1.2.3", "--to", "pacs").code == 0
    goes(rooms)
    (transfer,) = transfers_of(rooms)
    forward_transfer(rooms, transfer)

    assert [each.request.sop_instance_uid for each in peer.service.stored] == [HERE]
    assert not rooms.ledger.waiting()
    (row,) = rooms.ledger.needs_attention()
    assert words in row.reason
    for told in (jobs.run("status"), jobs.run("jobs", "show", "1.2.3"), jobs.run("status", "--json")):
        assert words in told.out
        assert "NO_PATIENT_ID" not in told.out + told.err

    spooled(rooms, GONE)
    group_arrivals(rooms)
    (transfer,) = transfers_of(rooms)
    forward_transfer(rooms, transfer)
    assert [each.request.sop_instance_uid for each in peer.service.stored] == [HERE, GONE]
    assert archive_batch(rooms) == 1
    assert not rooms.ledger.needs_attention()


def test_while_the_archive_is_not_mounted_it_is_tried_again(
    rooms: Rooms, jobs: ArchiveCommand, peer: Running
) -> None:
    """Then every file seems to be gone, and is not; replay says so and queues nothing."""
    assert jobs.run("jobs", "replay", "1.2.3", "--to", "pacs", "--instances", GONE).code == 0
    data = rooms.archive.layout.root / "data"
    away = data.with_name("elsewhere")
    data.rename(away)
    data.mkdir()

    (transfer,) = transfers_of(rooms)
    forward_transfer(rooms, transfer)
    told = jobs.run("jobs", "replay", "1.2.3", "--to", "pacs", "--instances", HERE)
    (waiting,) = rooms.ledger.waiting()

    assert not peer.service.stored
    assert "is its file system mounted?" in waiting.reason
    assert (told.code, "is its file system mounted?" in told.err) == (3, True)
    data.rmdir()
    away.rename(data)
    forward_transfer(rooms, transfer)
    assert len(peer.service.stored) == 1


def test_where_the_index_says_it_is_when_the_ledger_is_wrong(
    rooms: Rooms, jobs: ArchiveCommand, peer: Running
) -> None:
    """It was replaced by one with another patient id, say, and so has another path."""
    with rooms.ledger._database.write() as work:
        work.connection.exec_driver_sql("UPDATE instances SET archive_path = 'data/elsewhere.dcm'")

    assert jobs.run("jobs", "replay", "1.2.3", "--to", "pacs").code == 0
    (transfer,) = transfers_of(rooms)
    forward_transfer(rooms, transfer)

    assert _facts(rooms).archive_path == "data/elsewhere.dcm"
    assert len(peer.service.stored) == 2
