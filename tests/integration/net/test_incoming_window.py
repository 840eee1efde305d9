"""Several C-STORE requests being committed at once, as acceptor (PS3.7 Annex D.3.3.3)."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic, sleep

import pytest

from dicomrelay.dimse.fragments import CommandReceived
from dicomrelay.dimse.messages import CStoreRequest, CStoreResponse
from dicomrelay.errors import AssociationAborted, SpoolError
from dicomrelay.net.commits import AssociationCommits, CommitPool
from dicomrelay.net.incoming_store import IncomingStore
from dicomrelay.net.requestor import Association, StoreItem
from dicomrelay.net.service import (
    Acceptance,
    AssociationInfo,
    Commit,
    EndingKind,
    PeerConnection,
    Rejection,
    StoreReply,
)
from dicomrelay.ul.pdu import Abort, AssociateRequest, AsynchronousOperations
from tests.support.engine import (
    CT_IMAGE_STORAGE,
    EXPLICIT_VR_LITTLE_ENDIAN,
    QUICK,
    MemoryService,
    Running,
    running_acceptor,
    store_item,
)

CONTEXTS = [(CT_IMAGE_STORAGE, (EXPLICIT_VR_LITTLE_ENDIAN,)), ("1.2.840.10008.1.1", ("1.2.840.10008.1.2",))]


@dataclass
class CommittingService(MemoryService):
    """Accepts the window that is asked for; its sinks leave a commit that waits until the test lets it go."""

    begun: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    gates: dict[str, threading.Event] = field(default_factory=dict)
    fails: frozenset[str] = frozenset()

    def negotiate(self, request: AssociateRequest, peer: PeerConnection) -> Rejection | Acceptance:
        decided = super().negotiate(request, peer)
        asked = request.user_information.asynchronous_operations
        assert isinstance(decided, Acceptance)
        return Acceptance(decided.contexts, window=asked and AsynchronousOperations(asked.invoked, 1))

    def begin_store(
        self, association: AssociationInfo, request: CStoreRequest, transfer_syntax_uid: str
    ) -> CommittingSink:
        return CommittingSink(self, request.sop_instance_uid)

    def gate(self, uid: str) -> threading.Event:
        """What the commit of that instance waits for."""
        return self.gates.setdefault(uid, threading.Event())

    def tell(self, uid: str) -> None:
        with self.changed:
            self.begun.append(uid)
            self.changed.notify_all()

    def wait_begun(self, count: int) -> None:
        """Until so many commits have begun."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.begun) >= count, 10), self.begun


class CommittingSink:
    """Its commit waits for the gate of its instance."""

    def __init__(self, service: CommittingService, uid: str) -> None:
        self._service = service
        self._uid = uid

    def write(self, fragments: Sequence[memoryview]) -> None:
        pass

    def finish(self) -> StoreReply | Commit:
        return self._commit

    def _commit(self) -> StoreReply:
        self._service.tell(self._uid)
        assert self._service.gate(self._uid).wait(10)
        if self._uid in self._service.fails:
            raise SpoolError("the disk is broken")
        self._service.kept.append(self._uid)
        return StoreReply(0)

    def abandon(self) -> None:
        self._service.abandoned.append(self._uid)


@contextmanager
def _associated(running: Running, window: int) -> Iterator[Association]:
    association = Association.request(
        running.remote, calling_ae_title="SENDER", contexts=CONTEXTS, window=window
    )
    try:
        yield association
    finally:
        association.abort()


def _items(folder: Path, count: int, size: int = 2000) -> list[StoreItem]:
    return [store_item(folder / f"{number}", os.urandom(size), uid=f"1.{number}") for number in range(count)]


def _in_thread(call: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=call)
    thread.start()
    return thread


def test_the_next_is_received_while_the_one_before_commits_and_answers_overtake(tmp_path: Path) -> None:
    """Three commits at once, let go from the last to the first: so come the answers, and never before their commit."""
    service = CommittingService()
    items = _items(tmp_path, 5)
    found: list[tuple[str, list[str]]] = []
    with running_acceptor(service) as running, _associated(running, 3) as association:
        assert association.window == 3

        def send() -> None:
            found.extend((item.sop_instance_uid, list(service.kept)) for item, _ in association.stores(items))

        sender = _in_thread(send)
        service.wait_begun(3)
        sleep(0.1)
        assert sorted(service.begun) == ["1.0", "1.1", "1.2"]  # and no fourth
        assert not found
        for uid in ("1.2", "1.1", "1.0", "1.4", "1.3"):
            service.gate(uid).set()
            sleep(0.05)
        sender.join(10)
        association.release()
        ending = service.wait_ending()
    assert [uid for uid, _ in found[:3]] == ["1.2", "1.1", "1.0"]
    assert all(uid in stored for uid, stored in found)
    assert (ending.kind, ending.stored, ending.bytes_received) == (EndingKind.RELEASED, 5, 10_000)


def test_without_a_window_everything_is_done_in_turn(tmp_path: Path) -> None:
    """The commit is carried out in the association's thread, and the next is received after its answer."""
    service = CommittingService()
    items = _items(tmp_path, 3)
    threads: set[str] = set()
    tell = service.tell

    def note(uid: str) -> None:
        threads.add(threading.current_thread().name)
        service.gate(uid).set()
        tell(uid)

    service.tell = note  # type: ignore[method-assign]
    with running_acceptor(service) as running, _associated(running, 1) as association:
        assert association.window == 1
        assert [item for item, _ in association.stores(items)] == items
    assert len(threads) == 1
    assert threads.pop().startswith("association ")


def test_what_a_commit_raises_is_its_answer_and_no_other(tmp_path: Path) -> None:
    """A700 for that one, and the association goes on."""
    service = CommittingService(fails=frozenset({"1.1"}))
    items = _items(tmp_path, 4)
    for item in items:
        service.gate(item.sop_instance_uid).set()
    with running_acceptor(service) as running, _associated(running, 4) as association:
        found = dict(association.stores(items))
        association.release()
        ending = service.wait_ending()
    assert {
        item.sop_instance_uid: reply.status for item, reply in found.items() if isinstance(reply, StoreReply)
    } == {
        "1.0": 0,
        "1.1": 0xA700,
        "1.2": 0,
        "1.3": 0,
    }
    assert (ending.stored, ending.failed) == (3, 1)
    assert service.abandoned == []


def test_an_abort_drops_no_instance_that_is_committing(tmp_path: Path) -> None:
    """Their answers are dropped, they are not; the ending comes when they are over, and counts them."""
    service = CommittingService()
    items = _items(tmp_path, 2)
    with running_acceptor(service) as running, _associated(running, 2) as association:
        sender = _in_thread(lambda: _expect_abort(association, items))
        service.wait_begun(2)
        connection = association._transport.connection
        connection.request_abort(Abort())
        association._transport.send(connection.take_output())
        sleep(0.3)
        assert service.endings == []
        for item in items:
            service.gate(item.sop_instance_uid).set()
        ending = service.wait_ending()
        association._transport.close()
        sender.join(10)
    assert (ending.kind, ending.stored) == (EndingKind.ABORTED_BY_PEER, 2)
    assert sorted(service.kept) == ["1.0", "1.1"]
    assert service.abandoned == []


def _expect_abort(association: Association, items: Sequence[StoreItem]) -> None:
    with pytest.raises(AssociationAborted):
        list(association.stores(items))


def test_a_stop_answers_what_is_committing(tmp_path: Path) -> None:
    """The grace is over while two commit: both answers reach the sender, then A-ABORT."""
    service = CommittingService()
    items = _items(tmp_path, 2)
    found: list[StoreItem] = []
    with running_acceptor(service) as running, _associated(running, 3) as association:
        answers = association.stores(_and_then(items, lambda: service.endings))

        def send() -> None:
            with pytest.raises(AssociationAborted):
                found.extend(item for item, _ in answers)

        sender = _in_thread(send)
        service.wait_begun(2)
        stopper = _in_thread(lambda: running.acceptor.stop(0.1))
        sleep(0.5)
        for item in items:
            service.gate(item.sop_instance_uid).set()
        stopper.join(10)
        sender.join(10)
        assert service.wait_ending().kind is EndingKind.STOPPED
    assert sorted(item.sop_instance_uid for item in found) == ["1.0", "1.1"]


def _and_then(items: Sequence[StoreItem], happened: Callable[[], object]) -> Iterator[StoreItem]:
    """The items, and then one more when it is too late."""
    yield from items
    deadline = monotonic() + 10
    while not happened() and monotonic() < deadline:
        sleep(0.02)
    yield items[0]


def test_echoes_are_answered_while_instances_commit() -> None:
    """The association's thread waits for the peer and for its commits at once, and sleeps meanwhile."""
    service = CommittingService()
    with running_acceptor(service) as running, _associated(running, 4) as association:
        request = CStoreRequest(association.next_message_id(), CT_IMAGE_STORAGE, "1.0")
        context_id = association.accepted[CT_IMAGE_STORAGE, EXPLICIT_VR_LITTLE_ENDIAN]
        association.send_message(request, context_id, bytes(100))
        service.wait_begun(1)
        assert association.echo() == 0
        used = sum(os.times()[:2])
        sleep(0.5)
        assert sum(os.times()[:2]) - used < 0.3
        service.gate("1.0").set()
        deadline = monotonic() + 5
        answer = association.receive(list, deadline=deadline, wake_at=deadline)
        response = CStoreResponse(request.message_id, 0, CT_IMAGE_STORAGE, "1.0")
        assert answer == [CommandReceived(context_id, response, has_data_set=False)]


def test_a_peer_that_waits_for_a_slow_disk_is_not_idle(tmp_path: Path) -> None:
    """Its answer comes after thrice the idle time, as it would without a window; once answered it may be idle again."""
    service = CommittingService()
    items = _items(tmp_path, 1)
    limits = replace(QUICK, idle_timeout_s=0.4)
    with running_acceptor(service, limits) as running, _associated(running, 3) as association:
        letting_go = threading.Timer(1.2, service.gate("1.0").set)
        letting_go.start()
        assert list(association.stores(items)) == [(items[0], StoreReply(0))]
        answered_at = monotonic()
        ending = service.wait_ending()
        assert (ending.kind, ending.stored) == (EndingKind.TIMED_OUT, 1)
        assert monotonic() - answered_at > 0.3


@pytest.mark.parametrize("size", [100, 3_000_000])
def test_many_instances_through_a_window_arrive_once_each(tmp_path: Path, size: int) -> None:
    """All gates open: many threads, and every answer for its own."""
    service = CommittingService()
    items = _items(tmp_path, 300 if size == 100 else 10, size)
    for item in items:
        service.gate(item.sop_instance_uid).set()
    with running_acceptor(service) as running, _associated(running, 0) as association:
        assert association.window == 0
        found = list(association.stores(items))
        association.release()
        assert service.wait_ending().bytes_received == size * len(items)
    assert sorted(item.sop_instance_uid for item, _ in found) == sorted(
        item.sop_instance_uid for item in items
    )
    assert len(service.kept) == len(items)


def test_the_pool_makes_no_more_threads_than_it_may_and_they_end() -> None:
    """Twenty calls by three threads, each at once with two others at most."""
    pool = CommitPool(max_threads=3)
    lock, all_done = threading.Lock(), threading.Event()
    now, most, done = [0], [0], [0]

    def call() -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        sleep(0.01)
        with lock:
            now[0] -= 1
            done[0] += 1
            if done[0] == 20:
                all_done.set()

    before = threading.active_count()
    for _ in range(20):
        pool.submit(call)
    assert all_done.wait(10)
    assert most[0] == 3
    assert threading.active_count() - before <= 3
    pool.close()
    deadline = monotonic() + 5
    while threading.active_count() > before:
        assert monotonic() < deadline
        sleep(0.01)


def test_a_pool_that_is_closed_says_so_and_the_commit_is_made_on_the_spot() -> None:
    """Else who waits for it would wait for ever; what was submitted before the end is done."""
    pool = CommitPool(max_threads=1)
    done: list[str] = []
    may_go = threading.Event()
    pool.submit(lambda: done.append(str(may_go.wait(5))))
    pool.submit(lambda: done.append("behind it"))
    pool.close()
    pool.close()
    with pytest.raises(RuntimeError, match="closed"):
        pool.submit(lambda: done.append("late"))
    commits = AssociationCommits(pool, 4)
    store = IncomingStore(CStoreRequest(1, CT_IMAGE_STORAGE, "1.0"), lambda: StoreReply(0))
    commits.begin(1, store, lambda: StoreReply(0))
    assert [(reply, done) for _, _, reply in commits.finished()] == [(StoreReply(0), [])]
    commits.close()
    may_go.set()
    deadline = monotonic() + 5
    while len(done) < 2:
        assert monotonic() < deadline
        sleep(0.01)
    assert done == ["True", "behind it"]
