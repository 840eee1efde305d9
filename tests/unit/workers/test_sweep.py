"""The sweeper says again what is due, and not more often than it must."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomrelay.errors import ServiceUnavailable
from dicomrelay.runtime.queue import Queue, Task
from tests.support.rooms import NotedWakeUps, as_if_shared, rooms_at, spooled
from workers.group import group_arrivals
from workers.keep import archive_batch, frames_batch, release_batch
from workers.rooms import Rooms
from workers.sweep import Sweeper

_TOML = '[[destinations]]\nname = "pacs"\nae_title = "PACS"\nhost = "127.0.0.1"\nport = 104\n'


@pytest.fixture
def house(tmp_path: Path) -> Iterator[tuple[Rooms, NotedWakeUps]]:
    """Rooms with one destination, and the queue's notes."""
    with rooms_at(tmp_path / "home", _TOML) as made:
        yield made


class _Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_what_lies_in_the_spool_is_said_to_group(house: tuple[Rooms, NotedWakeUps]) -> None:
    """A gateway's wake-up may have been lost."""
    rooms, queue = house
    spooled(rooms, "1.2.3.4")
    Sweeper(rooms).sweep()

    assert (Task.GROUP, ()) in queue.said


def test_a_message_that_waits_is_not_said_again(house: tuple[Rooms, NotedWakeUps]) -> None:
    """Queues stay short while nobody works."""
    rooms, queue = house
    spooled(rooms, "1.2.3.4")
    queue.depth[Queue.GROUP] = 1
    Sweeper(rooms).sweep()

    assert not queue.said


def test_a_quiet_study_becomes_a_transfer_that_is_said_once_and_again_when_it_is_still_due(
    house: tuple[Rooms, NotedWakeUps],
) -> None:
    """Thirty seconds later where the queue is busy."""
    rooms, queue = house
    spooled(rooms, "1.2.3.4")
    group_arrivals(rooms)
    clock = _Clock()
    sweeper = Sweeper(rooms, clock=clock)
    queue.depth[Queue.FORWARD_NORMAL] = 1

    assert sweeper.sweep().transfers_made == 1
    forwards = [said for said in queue.said if said[0] is Task.FORWARD]
    assert len(forwards) == 1

    sweeper.sweep()
    assert len([said for said in queue.said if said[0] is Task.FORWARD]) == 1

    clock.now += 31
    sweeper.sweep()
    assert [said for said in queue.said if said[0] is Task.FORWARD] == forwards * 2


def test_only_opaque_ids_are_said(house: tuple[Rooms, NotedWakeUps]) -> None:
    """No path, no AE title, no UID."""
    rooms, queue = house
    spooled(rooms, "1.2.3.4")
    group_arrivals(rooms)
    Sweeper(rooms).sweep()
    ids = [id_ for _, ids in queue.said for id_ in ids]

    assert len(ids) == 1
    assert len(ids[0]) == 32
    assert int(ids[0], 16) > 0


def test_a_broker_that_is_gone_is_an_error_and_the_next_sweep_says_all(
    house: tuple[Rooms, NotedWakeUps],
) -> None:
    """Nothing is forgotten because it could not be said."""
    rooms, queue = house
    spooled(rooms, "1.2.3.4")
    group_arrivals(rooms)
    sweeper = Sweeper(rooms)
    queue.broken = True
    with pytest.raises(ServiceUnavailable):
        sweeper.sweep()
    queue.broken = False
    sweeper.sweep()

    assert {task for task, _ in queue.said} == {Task.FORWARD, Task.ARCHIVE}


def test_an_item_stays_in_the_spool_until_it_is_delivered(house: tuple[Rooms, NotedWakeUps]) -> None:
    """The archive alone is not enough where a destination waits."""
    rooms, _ = house
    spooled(rooms, "1.2.3.4")
    group_arrivals(rooms)
    archive_batch(rooms)

    assert release_batch(rooms) == 0
    assert rooms.spool.usage().kept == 1


def test_stages_follow_each_other_until_the_spool_is_empty(tmp_path: Path) -> None:
    """Archive, then frames, then out of the spool."""
    with rooms_at(tmp_path / "archive-only") as (rooms, _):
        _through_the_stages(rooms)


def _through_the_stages(rooms: Rooms) -> None:
    record = spooled(rooms, "1.2.3.4")
    group_arrivals(rooms)

    assert archive_batch(rooms) == 1
    assert frames_batch(rooms) == 1
    assert (archive_batch(rooms), frames_batch(rooms)) == (0, 0)
    assert release_batch(rooms) == 1
    assert rooms.spool.usage().kept == 0
    assert rooms.archive.locate("1.2.3", "1.2.3.1", "1.2.3.4").exists()
    (study,) = rooms.ledger.studies()
    assert (study.archived, study.framed, study.frames) == (1, 1, 0)
    assert rooms.ledger.released([record.id]) == [record.id]


def test_who_does_not_lead_looks_after_its_own_spool_only(house: tuple[Rooms, NotedWakeUps]) -> None:
    """Transfers, frames and studies are the leader's; arrivals and archiving are its own."""
    rooms, queue = house
    spooled(rooms, "1.2.3.4")
    group_arrivals(rooms)
    spooled(rooms, "1.2.3.5", study="1.2.4")
    queue.said.clear()
    swept = Sweeper(rooms).sweep(leads=False)

    assert swept.transfers_made == 0
    assert {task for task, _ in queue.said} == {Task.GROUP, Task.ARCHIVE}
    assert Sweeper(rooms).sweep().transfers_made == 1


def test_a_host_of_several_tells_its_own_workers_what_nobody_else_can_read(
    house: tuple[Rooms, NotedWakeUps],
) -> None:
    """On a queue of its own, where one message waits at most: there may be no such worker."""
    alone, queue = house
    rooms = as_if_shared(alone)
    spooled(rooms, "1.2.3.4")
    group_arrivals(rooms)
    clock = _Clock()
    sweeper = Sweeper(rooms, clock=clock)
    for _ in range(3):
        sweeper.sweep()
        clock.now += 60
    assert [task for task, _ in queue.said_here] == [Task.FORWARD]

    queue.said_here.clear()
    Sweeper(alone).sweep()
    assert queue.said_here == []


def test_what_has_been_archived_is_said_to_everybody(house: tuple[Rooms, NotedWakeUps]) -> None:
    """Until then it was this host's alone."""
    alone, queue = house
    rooms = as_if_shared(alone)
    spooled(rooms, "1.2.3.4")
    group_arrivals(rooms)
    Sweeper(rooms).sweep()
    queue.said.clear()
    archive_batch(rooms)
    assert [task for task, _ in queue.said] == [Task.FORWARD]
