"""Runners on threads as a forward worker has them, and peers in processes of their own that answer after a while."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from dicomrelay.ledger import Ledger, Priority
from tests.support.engine import MemoryService, running_acceptor
from tests.support.ledger import arrival
from tests.support.rooms import data_set
from workers.forwarding import Forwarding
from workers.rooms import Rooms


@contextmanager
def slow_peer(answer_after_s: float) -> Iterator[int]:
    """A peer that answers each C-STORE after so long; its port."""
    command = [sys.executable, "-m", "tests.support.forwarding", str(answer_after_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()


@contextmanager
def forwarding(rooms: Rooms, places: int = 32) -> Iterator[Forwarding]:
    """A forward worker's threads without a broker: five times a second they are woken for what is due."""
    runners = Forwarding(rooms, places)
    over = threading.Event()
    tasks: list[Future[int]] = []

    def wake() -> None:
        while not over.wait(0.2):
            under_way = sum(not task.done() for task in tasks)
            due = rooms.ledger.due(limit=max(0, places - under_way)).transfers
            tasks.extend(pool.submit(runners.run) for _ in due)

    sweeper = threading.Thread(target=wake, daemon=True)
    with ThreadPoolExecutor(places) as pool:
        sweeper.start()
        try:
            yield runners
        finally:
            over.set()
            rooms.stopping.set()
            sweeper.join(20)
    assert not sweeper.is_alive()
    for task in tasks:
        task.result()


@dataclass(frozen=True, slots=True)
class Delivered:
    """Deliveries to a destination that were made, and how many there are."""

    done: int
    total: int


def delivered(ledger: Ledger, destination: str, study: str | None = None) -> Delivered:
    """How far a destination is, over all studies or in one."""
    rows = [
        to
        for summary in ledger.studies(limit=1000, study_instance_uid=study)
        for to in summary.destinations
        if to.destination == destination
    ]
    return Delivered(
        sum(row.delivered for row in rows),
        sum(row.pending + row.delivered + row.failed + row.refused + row.gave_up for row in rows),
    )


def study(
    rooms: Rooms,
    uid: str,
    instances: int,
    *,
    send_to: tuple[str, ...],
    priority: Priority = Priority.NORMAL,
    batch: int = 200,
    size: int = 0,
) -> None:
    """A study in the ledger as ready transfers; all its instances are one file, with `size` bytes or a little more."""
    path = rooms.settings.home / f"{size}.dataset"
    content = data_set("1.2.3.4") + bytes(size)
    if not path.exists():
        path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    rooms.ledger.register(
        [
            arrival(
                number,
                spool_id=f"{uid}-{number}",
                host=rooms.host,
                study_instance_uid=uid,
                series_instance_uid=f"{uid}.1",
                sop_instance_uid=f"{uid}.1.{number + 1}",
                data_set_offset=0,
                data_set_bytes=len(content),
                digest=digest,
                source_path=str(path),
                destinations=send_to,
                priority=priority,
                archive=False,
            )
            for number in range(instances)
        ]
    )
    rooms.ledger.complete_quiet_studies(quiet_ms=0, batch_instances=batch, batch_bytes=10**9, limit=100)


def until(reached: Callable[[], bool], timeout_s: float = 60) -> float:
    """Wait for it; how long it took, in seconds."""
    began = time.monotonic()
    while not reached():
        assert time.monotonic() - began < timeout_s, "it did not come to be"
        time.sleep(0.05)
    return time.monotonic() - began


def main() -> None:
    """The peer, until it is killed."""
    answer_after_s = float(sys.argv[1])
    service = MemoryService(on_finish=lambda: time.sleep(answer_after_s))
    with running_acceptor(service) as running:
        sys.stdout.write(f"{running.port}\n")
        sys.stdout.flush()
        threading.Event().wait()


if __name__ == "__main__":
    main()
