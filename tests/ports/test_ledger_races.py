"""Two at the same rows, one of them stopped on the way: nobody's work is lost, and nobody waits for who waits for him."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import create_engine, text, update

from dicomrelay.errors import LedgerError, ServiceUnavailable
from dicomrelay.ledger import (
    ClaimedTransfer,
    DeliveryState,
    Ledger,
    Priority,
    TransferState,
    contacts,
    grouping,
    subjects,
)
from dicomrelay.ledger.breaker import BreakerPolicy
from dicomrelay.ledger.database_errors import Undone
from dicomrelay.ledger.engine import Work, database_url
from dicomrelay.ledger.grouping import CompletionPolicy
from dicomrelay.ledger.schema import transfers
from dicomrelay.ledger.values_operations import ReplayOrder, Subject, SubjectKind
from tests.support.ledger import MINUTE_MS, arrival, claim, claimed_transfer, due_ids, group, outcomes

_NOW = CompletionPolicy(0, 0, 200, 10**9)
_ONE = BreakerPolicy(failures=1, initial_s=0.0, maximum_s=0.0)
_STUDY = Subject(SubjectKind.STUDY, "1.2.1")


@pytest.fixture
def other(ledger: Ledger, ledger_url: str) -> Iterator[Ledger]:
    """Another process's ledger."""
    opened = Ledger.open(ledger_url)
    yield opened
    opened.dispose()


class Stop:
    """Stops the first that calls a function of a module, before or after it, until he may go on."""

    def __init__(self, real: Callable[..., Any], *, after: bool) -> None:
        self._real = real
        self._after = after
        self._first = threading.Lock()
        self.is_there, self.go_on = threading.Event(), threading.Event()

    def __call__(self, *given: Any, **options: Any) -> Any:
        if not self._first.acquire(blocking=False):
            return self._real(*given, **options)
        result = self._real(*given, **options) if self._after else None
        self.is_there.set()
        assert self.go_on.wait(20)
        return result if self._after else self._real(*given, **options)


@contextmanager
def stopped(
    patch: pytest.MonkeyPatch,
    module: object,
    name: str,
    first: Callable[[], Any],
    *,
    after: bool = False,
) -> Iterator[tuple[Future[Any], ThreadPoolExecutor, Stop]]:
    """With `first` under way and stopped at that function; it goes on at the end, or when it is told so."""
    stop = Stop(getattr(module, name), after=after)
    patch.setattr(module, name, stop)
    with ThreadPoolExecutor(2) as pool:
        running = pool.submit(first)
        try:
            assert stop.is_there.wait(20)
            yield running, pool, stop
        finally:
            stop.go_on.set()


def delivered(ledger: Ledger, claimed: ClaimedTransfer) -> None:
    assert ledger.record_outcomes(claimed.id, claimed.fence, outcomes(claimed, DeliveryState.DELIVERED))
    ledger.finish_transfer(claimed.id, claimed.fence, retry_in_ms=None)


def test_what_is_replayed_while_its_study_is_grouped_waits_for_the_next_time(
    ledger: Ledger, other: Ledger, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who groups has read what waits, and ends the study's waiting when he is through; the job is never completed."""
    delivered(ledger, claimed_transfer(ledger, [arrival(1)]))
    ledger.register([arrival(2)])
    order = ReplayOrder(
        subject=_STUDY,
        job_id="job-1",
        destinations=("pacs",),
        again=True,
        priority=Priority.NORMAL,
        sop_instance_uids=frozenset({"1.2.3.1"}),
    )
    # `replay` dies before it says that the job is whole.
    monkeypatch.setattr("dicomrelay.ledger.operations.jobs.complete", lambda *_: None)
    with stopped(monkeypatch, grouping, "_plan", lambda: ledger.completion.complete(_NOW, limit=10)) as (
        first,
        pool,
        stop,
    ):
        replay = pool.submit(other.operations.replay, order)
        wait({replay}, timeout=0.5)
        stop.go_on.set()
        assert first.result(20).transfers == 1
        assert replay.result(20).queued == 1
    assert ledger.completion.complete(_NOW, limit=10).transfers == 1
    assert _column(ledger_url, "SELECT count(*) FROM deliveries WHERE transfer_id IS NULL") == [0]


def test_an_association_that_ends_while_its_study_is_grouped_leaves_no_sender_behind(
    ledger: Ledger, other: Ledger, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.register([arrival(1, association_id="a1"), arrival(2, association_id="a2")])
    with stopped(monkeypatch, grouping, "_plan", lambda: ledger.completion.complete(_NOW, limit=10)) as (
        first,
        pool,
        stop,
    ):
        ended = pool.submit(other.completion.association_ended, ["a1"])
        wait({ended}, timeout=0.5)
        stop.go_on.set()
        assert first.result(20).transfers == 1
        ended.result(20)
    assert _column(ledger_url, "SELECT senders, association_ended_at FROM studies") == [("", None)]


@pytest.fixture
def two(ledger: Ledger) -> tuple[ClaimedTransfer, str]:
    """Of two transfers to a destination whose breaker is open the first is delivered and runs still, the second waits."""
    ledger.register([arrival(number) for number in range(4)])
    assert group(ledger, batch_instances=2) == 2
    first, second = sorted(due_ids(ledger))
    running, waiting = claim(ledger, first), claim(ledger, second)
    ledger.flow.failed("pacs", policy=_ONE, jitter=0.0, error="no connection")
    ledger.finish_transfer(waiting.id, waiting.fence, retry_in_ms=MINUTE_MS, reason="no connection")
    ledger.record_outcomes(running.id, running.fence, outcomes(running, DeliveryState.DELIVERED))
    return running, second


@pytest.mark.parametrize("subject", [_STUDY, Subject(SubjectKind.ALL)], ids=["study", "all"])
def test_who_finishes_and_wakes_the_others_does_not_wait_for_who_holds_them(
    ledger: Ledger,
    other: Ledger,
    two: tuple[ClaimedTransfer, str],
    subject: Subject,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The one has woken what waits and is about to lock his own; a hold comes, which takes all of them by their ids."""
    running, waiting = two

    def finish() -> TransferState:
        return ledger.finish_transfer(running.id, running.fence, retry_in_ms=None, delivered=2)

    with stopped(monkeypatch, contacts, "_wake_waiting", finish, after=True) as (first, pool, stop):
        hold = pool.submit(other.operations.hold, subject)
        wait({hold}, timeout=0.5)
        stop.go_on.set()
        assert first.result(20) is TransferState.DONE
        assert [change.transfer_id for change in hold.result(20).changes] == [waiting]


def test_all_transfers_are_locked_in_one_order(ledger: Ledger) -> None:
    """Of everything: also where a later id is in an index that is read earlier; a study's are locked by id."""
    ledger.register([arrival(number) for number in range(4)])
    assert group(ledger, batch_instances=2) == 2
    first, second = sorted(due_ids(ledger))
    ledger.operations.hold(Subject(SubjectKind.TRANSFER, first))  # read after those that are due
    with ledger._database.write() as work:
        locked = [row.id for row in subjects.locked_transfers(work, Subject(SubjectKind.ALL), "")]
    assert locked == [first, second]


def test_whom_the_database_undoes_for_anothers_sake_begins_anew(
    ledger: Ledger, ledger_url: str, two: tuple[ClaimedTransfer, str], backend: str
) -> None:
    """Two that take the same rows in opposite orders: a deadlock, which PostgreSQL ends; both are written in the end."""
    ids = [two[0].id, two[1]]
    begun = [threading.Event(), threading.Event()]
    calls: list[int] = []

    def crossed(number: int) -> None:
        def write(work: Work) -> None:
            calls.append(number)
            for place, key in enumerate(ids if number == 0 else ids[::-1]):
                work.connection.execute(
                    update(transfers).where(transfers.c.id == key).values(attempt=transfers.c.attempt + 100)
                )
                if not place:
                    begun[number].set()
                    begun[1 - number].wait(1)  # SQLite's other one has not begun

        ledger._database.transact(write)

    before = _column(ledger_url, "SELECT attempt FROM transfers ORDER BY id")
    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(crossed, number) for number in range(2)]:
            future.result(30)
    assert _column(ledger_url, "SELECT attempt FROM transfers ORDER BY id") == [
        attempt + 200 for attempt in before
    ]
    assert len(calls) == (2 if backend == "sqlite" else 3)


def test_what_is_undone_every_time_is_said(ledger: Ledger) -> None:
    """A few times, and no more; any other error at once."""
    calls: list[type[Exception]] = []

    def fails(error: type[Exception]) -> Callable[[Work], None]:
        def function(_: Work) -> None:
            calls.append(error)
            raise error("x")

        return function

    for error, times in ((Undone, 4), (ServiceUnavailable, 1), (LedgerError, 1)):
        calls.clear()
        with pytest.raises(error):
            ledger._database.transact(fails(error))
        assert len(calls) == times


def _column(url: str, query: str) -> list[Any]:
    engine = create_engine(database_url(url))
    with engine.connect() as connection:
        found = [row[0] if len(row) == 1 else tuple(row) for row in connection.execute(text(query))]
    engine.dispose()
    return found
