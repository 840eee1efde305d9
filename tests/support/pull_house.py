"""A relay that pulls, without its processes: the gateway and the grouping in threads, the workers' functions at hand."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import create_engine, text

from dicomrelay.ledger.engine import database_url
from dicomrelay.ledger.schema import METADATA
from dicomrelay.ledger.values_pulls import NewPull, PullKind, PullPolicy, PullRow, Retrieval
from dicomrelay.routing import configured
from dicomrelay.routing.pulls import source_of
from dicomrelay.runtime import home
from dicomrelay.runtime.ports import free_ports
from scp_gateway import app
from tests.support.rooms import NotedWakeUps, rooms_at
from workers.group import group_arrivals
from workers.pull import pull
from workers.rooms import Rooms

SETTLE_S = 0.25


@dataclass
class PullHouse:
    """The relay, and what a test does with it."""

    rooms: Rooms
    noted: NotedWakeUps
    gateway_port: int

    def empty(self) -> None:
        """As if nothing had ever happened: for a house that several tests share."""
        engine = create_engine(database_url(home.ledger_url(self.rooms.settings)))
        with engine.begin() as connection:
            for table in reversed(METADATA.sorted_tables):
                connection.execute(table.delete())
        engine.dispose()
        self.rooms.ledger.sync_destinations(configured(self.rooms.settings.destinations))
        self.noted.said.clear()

    def order(self, *question: str, source: str = "old", **policy: object) -> str:
        """A pull that nobody has worked on yet."""
        new = NewPull(
            PullKind.ASKED,
            source_of(self.rooms.settings, source),
            question,
            PullPolicy(**{"attempts": 2, **policy}),  # type: ignore[arg-type]
        )
        pull_id = self.rooms.ledger.pulls.order(new)
        assert pull_id is not None
        return pull_id

    def work(self, *, steps: int = 100, now: bool = False) -> int:
        """Do what is due, up to so many steps; how many that were.

        Parameters
        ----------
        now : bool
            As if every wait were over.
        """
        for done in range(steps):
            if now:
                self.sql("UPDATE pull_steps SET due_at = 1 WHERE due_at IS NOT NULL")
            due = self.rooms.ledger.pulls.due(limit=1)
            if not due:
                return done
            assert pull(self.rooms, due[0].id, settle_s=SETTLE_S) is not None
        return steps

    def run(self, *question: str, get: bool = False, **policy: object) -> PullRow:
        """A pull, to its end or until it waits."""
        retrieval = Retrieval.GET if get else Retrieval.MOVE
        pull_id = self.order(*question, retrieval=retrieval, **policy)
        self.work()
        return self.row(pull_id)

    def row(self, pull_id: str) -> PullRow:
        """How it stands."""
        found = self.rooms.ledger.pulls.one(pull_id)
        assert found is not None
        return found

    def uids(self) -> list[str]:
        """SOP Instance UIDs that are in the relay."""
        return sorted(
            str(uid) for (uid,) in self.sql("SELECT sop_instance_uid FROM instances WHERE state = 'kept'")
        )

    def sql(self, statement: str) -> Sequence[tuple[object, ...]]:
        """Behind the ledger's back."""
        engine = create_engine(database_url(home.ledger_url(self.rooms.settings)))
        with engine.begin() as connection:
            result = connection.execute(text(statement))
            rows = [tuple(row) for row in result] if result.returns_rows else []
        engine.dispose()
        return rows


@contextmanager
def pull_house(
    folder: Path,
    source: str,
    *,
    ae_title: str = "OLD",
    more: str = "",
    peers: str = "",
    port: int | None = None,
) -> Iterator[PullHouse]:
    """A relay whose destination `old` is the source at HOST:PORT; nothing is forwarded there."""
    host, _, source_port = source.rpartition(":")
    gateway_port = port or free_ports(1)[0]
    toml = (
        f'port = {gateway_port}\n[[destinations]]\nname = "old"\nae_title = "{ae_title}"\nhost = "{host}"\n'
        f"port = {source_port}\nmoves_only = true\nretry_initial_s = 0.001\nretry_max_s = 0.001\nresponse_timeout_s = 10\n"
        f"{more}\n{peers}"
    )
    with rooms_at(folder, toml) as (rooms, noted):
        ready, stop = threading.Event(), threading.Event()
        gateway = threading.Thread(
            target=app.run,
            args=(rooms.settings,),
            kwargs={"wake": _nothing, "ready": ready.set, "stop": stop},
        )
        grouping = threading.Thread(target=_group, args=(rooms, stop))
        gateway.start()
        grouping.start()
        try:
            assert ready.wait(20)
            yield PullHouse(rooms, noted, gateway_port)
        finally:
            stop.set()
            grouping.join(30)
            gateway.join(30)


def _group(rooms: Rooms, stop: threading.Event) -> None:
    while not stop.wait(0.05):
        group_arrivals(rooms)


def _nothing() -> None:
    """Nobody is to be woken."""
