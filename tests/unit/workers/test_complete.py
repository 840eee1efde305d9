"""What the workers make of a study that arrives: full batches at once, the rest when it is complete."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dicomrelay.runtime.queue import Queue, Task
from dicomrelay.settings import Settings
from tests.support.rooms import rooms_at, spooled
from workers import complete
from workers.group import group_arrivals
from workers.rooms import Rooms

_TOML = (
    '[[destinations]]\nname = "pacs"\nae_title = "PACS"\nhost = "127.0.0.1"\nport = 104\nassociations = 8\n'
    "[worker]\nbatch_instances = 20\n"
)
_PEERS = '[[peers]]\nae_title = "CT_*"\nquiet_seconds = 0\ncount_at = "CT@127.0.0.1:104"\n[[peers]]\nae_title = "*"\n'


def patient(rooms: Rooms, **study: Any) -> Rooms:
    """The same rooms, where a study is quiet after an hour."""
    changed = rooms.settings.study.model_copy(update={"quiet_seconds": 3600, **study})
    return replace(rooms, settings=rooms.settings.model_copy(update={"study": changed}))


def test_full_batches_are_said_as_they_arrive(tmp_path: Path) -> None:
    """After each batch of arrivals, before the study is complete; the rest is said when it is."""
    with rooms_at(tmp_path / "home", _TOML) as (opened, queue):
        rooms = patient(opened)
        for number in range(45):
            spooled(rooms, f"1.2.3.{number}")
        calls: list[int] = []
        group_arrivals(rooms, each=lambda: calls.append(len(queue.said)))
        assert calls == [1, 3, 3], "12 of the first 20, twice 12 then of 28, and nine wait"
        assert {task for task, _ in queue.said} == {Task.FORWARD}
        assert complete.make_complete(rooms).transfers == 0
        assert rooms.ledger.completion.association_ended(["a1"]) == 1
        assert complete.make_complete(patient(rooms, quiet_after_association_seconds=0)).transfers == 1


def test_nothing_leaves_before_the_study_is_complete_where_that_is_wanted(tmp_path: Path) -> None:
    """`study.send = "complete"`."""
    with rooms_at(tmp_path / "home", _TOML) as (opened, queue):
        rooms = patient(opened, send="complete")
        for number in range(60):
            spooled(rooms, f"1.2.3.{number}")
        group_arrivals(rooms)
        assert not queue.said
        assert complete.make_complete(patient(rooms, quiet_seconds=0)).transfers == 5


def test_a_broker_that_is_away_stops_no_transfer_from_being_made(tmp_path: Path) -> None:
    """It is due, and the sweeper says so when there is a broker."""
    with rooms_at(tmp_path / "home", _TOML) as (rooms, queue):
        queue.broken = True
        for number in range(20):
            spooled(rooms, f"1.2.3.{number}")
        group_arrivals(patient(rooms))
        assert len(rooms.ledger.due(limit=10).transfers) == 1


def test_the_scheduler_looks_for_studies_that_are_complete(tmp_path: Path) -> None:
    """And says what it has made, without the sweeper; it ends when it is told to."""
    with rooms_at(tmp_path / "home", _TOML) as (rooms, queue):
        spooled(rooms, "1.2.3.4")
        group_arrivals(rooms)
        assert queue.said == []
        stop = threading.Event()
        thread = threading.Thread(target=complete.complete_until, args=(rooms, stop))
        thread.start()
        assert queue.spoke.wait(10)
        stop.set()
        thread.join(10)
        assert not thread.is_alive()
        (transfer,) = rooms.ledger.due(limit=10).transfers
        assert queue.said == [(Task.FORWARD, (transfer.id,))]


@pytest.mark.parametrize(("job_id", "expected"), [("", 1), ("job-1", 0)])
def test_the_settings_of_a_source_are_for_what_it_sends(tmp_path: Path, job_id: str, expected: int) -> None:
    """By its AE title and address; a job is complete when the job says so."""
    with rooms_at(tmp_path / "home", _TOML + _PEERS) as (opened, _):
        rooms = patient(opened)
        spooled(rooms, "1.2.3.4", job_id=job_id)
        group_arrivals(rooms)
        assert complete.make_complete(rooms).transfers == expected


def test_the_queue_is_that_of_the_priority() -> None:
    """Urgent ones pass."""
    assert [queue.value for queue in complete.FORWARD_QUEUE.values()] == [
        Queue.FORWARD_URGENT,
        Queue.FORWARD_NORMAL,
        Queue.FORWARD_BULK,
    ]


def test_the_policy_is_what_the_settings_say() -> None:
    """In milliseconds."""
    found = complete.policy(Settings(study={"quiet_seconds": 2.5, "quiet_after_association_seconds": 0.25}))
    assert (found.quiet_ms, found.quiet_after_association_ms, found.batch_instances) == (2500, 250, 200)
