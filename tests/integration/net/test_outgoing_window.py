"""Several C-STORE requests outstanding, as requestor: answers in any order, full buffers, deaths (PS3.7 Annex D.3.3.3)."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep

import pytest

from dicomrelay.dicom.status import Outcome
from dicomrelay.dimse.codec import encode_message
from dicomrelay.dimse.fragments import CommandReceived, DataSetReceived, MessageAssembler
from dicomrelay.dimse.messages import CStoreRequest, CStoreResponse
from dicomrelay.errors import (
    AssociationAborted,
    AssociationError,
    AssociationTimeout,
    LocalProtocolError,
    PeerBrokeProtocol,
    RemoteProtocolError,
    SpoolCorrupt,
)
from dicomrelay.net.outcomes import judge
from dicomrelay.net.requestor import Association, RemoteAe, StoreItem, Timeouts
from dicomrelay.net.service import StoreReply
from dicomrelay.ul.pdu import (
    Abort,
    AssociateAccept,
    ContextDecision,
    PDataTf,
    Pdv,
    ReleaseRequest,
    ReleaseResponse,
    UserInformation,
)
from dicomrelay.ul.writer import encode
from tests.support.engine import CT_IMAGE_STORAGE, EXPLICIT_VR_LITTLE_ENDIAN, store_item
from tests.support.wire import read_pdu, scripted_acceptor

ACCEPT = AssociateAccept(
    "RELAY",
    "WIRE",
    "1.2.840.10008.3.1.1.1",
    (ContextDecision(1, 0, EXPLICIT_VR_LITTLE_ENDIAN),),
    UserInformation(16_384),
)
TIMEOUTS = Timeouts(connect_s=5, association_s=5, response_s=5, pdu_s=5, release_s=5)


class Peer:
    """An acceptor by hand: it reads requests when the test lets it, and answers what the test wants."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.assembler = MessageAssembler([1])
        read_pdu(sock)
        sock.sendall(encode(ACCEPT))

    def requests(self) -> Iterator[CStoreRequest]:
        """Each whole request, as it comes; ends with the association, and answers a release."""
        request: CStoreRequest | None = None
        while (pdu := read_pdu(self.sock)) is not None:
            if isinstance(pdu, ReleaseRequest):
                self.sock.sendall(encode(ReleaseResponse()))
            if not isinstance(pdu, PDataTf):
                return
            for part in self.assembler.feed(pdu.pdvs):
                if isinstance(part, CommandReceived):
                    assert isinstance(part.message, CStoreRequest)
                    request = part.message
                elif isinstance(part, DataSetReceived) and part.is_complete:
                    assert request is not None
                    yield request

    def answer(self, request: CStoreRequest, status: int = 0, *, message_id: int | None = None) -> None:
        """A C-STORE response."""
        number = request.message_id if message_id is None else message_id
        self.say(CStoreResponse(number, status, request.sop_class_uid, request.sop_instance_uid))

    def say(self, response: CStoreResponse, *, has_data_set: bool = False) -> None:
        """A response as it stands."""
        command = encode_message(response, has_data_set=has_data_set)
        with suppress(ConnectionError):  # the other end has thought better of it
            self.sock.sendall(encode(PDataTf((Pdv(1, True, True, command),))))

    def read_on(self) -> None:
        """Until the other end closes, so that our last words are not lost to a reset."""
        with suppress(ConnectionError):
            while self.sock.recv(1 << 20):
                pass


@contextmanager
def _associated(
    script: Callable[[Peer], None], *, window: int, timeouts: Timeouts = TIMEOUTS
) -> Iterator[Association]:
    with scripted_acceptor(lambda sock: script(Peer(sock))) as port:
        association = Association.request(
            RemoteAe("RELAY", "127.0.0.1", port),
            calling_ae_title="WIRE",
            contexts=[(CT_IMAGE_STORAGE, (EXPLICIT_VR_LITTLE_ENDIAN,))],
            timeouts=timeouts,
        )
        association.window = window
        try:
            yield association
        finally:
            association.abort()


def _items(folder: Path, count: int, size: int = 1000) -> list[StoreItem]:
    return [store_item(folder / f"{number}", os.urandom(size), uid=f"1.{number}") for number in range(count)]


@pytest.mark.parametrize(("window", "at_most"), [(1, 1), (3, 3), (0, 64), (1000, 64)])
def test_no_more_are_outstanding_than_the_window_allows(tmp_path: Path, window: int, at_most: int) -> None:
    """The peer holds all answers back until nothing comes any more: then as many are there as it allowed."""
    counts: list[int] = []

    def script(peer: Peer) -> None:
        held: list[CStoreRequest] = []
        for request in peer.requests():
            held.append(request)
            peer.sock.settimeout(0.3)
            try:
                more = peer.sock.recv(1, socket.MSG_PEEK)
            except TimeoutError:
                more = b""
            peer.sock.settimeout(10)
            if not more:
                counts.append(len(held))
                for each in reversed(held):  # the last first
                    peer.answer(each, 0xB000 if each.sop_instance_uid == "1.2" else 0)
                held.clear()

    items = _items(tmp_path, at_most + 2)
    with _associated(script, window=window) as association:
        found = dict(association.stores(items))
        association.release()
    assert found == {item: StoreReply(0xB000 if item is items[2] else 0) for item in items}
    assert max(counts) == at_most


@pytest.mark.parametrize("size", [500, 40_000, 3_000_000])
def test_two_ends_with_full_buffers_do_not_wait_for_each_other(tmp_path: Path, size: int) -> None:
    """Tiny buffers both ways, long answers, and a peer that reads nothing while it cannot send its answers."""

    def script(peer: Peer) -> None:
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        for request in peer.requests():
            # One response in many PDUs of one byte: 2 kB of answer for each request.
            command = encode_message(
                CStoreResponse(
                    request.message_id, 0xB007, request.sop_class_uid, request.sop_instance_uid, "x" * 64
                ),
                has_data_set=False,
            )
            pieces = [command[at : at + 1] for at in range(len(command))]
            for piece in pieces[:-1]:
                peer.sock.sendall(encode(PDataTf((Pdv(1, True, False, piece),))))
            peer.sock.sendall(encode(PDataTf((Pdv(1, True, True, pieces[-1]),))))

    items = _items(tmp_path, 40 if size < 1_000_000 else 3, size)
    with _associated(script, window=64) as association:
        sock = association._transport.sock
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        began = monotonic()
        found = dict(association.stores(items))
        assert monotonic() - began < 10
        association.release()
    assert {reply.status for reply in found.values() if isinstance(reply, StoreReply)} == {0xB007}
    assert list(found) == items


def test_what_was_answered_before_a_death_is_told_and_nothing_else(tmp_path: Path) -> None:
    """Five are sent, the second and the fourth answered, then A-ABORT: two answers, then AssociationAborted."""

    def script(peer: Peer) -> None:
        held: list[CStoreRequest] = []
        for request in peer.requests():
            held.append(request)
            if len(held) == 5:
                peer.answer(held[3])
                peer.answer(held[1])
                peer.sock.sendall(encode(Abort(0, 0)))
                peer.sock.shutdown(socket.SHUT_WR)
                peer.read_on()
                return

    items = _items(tmp_path, 9)
    found: list[StoreItem] = []
    with _associated(script, window=5) as association:
        with pytest.raises(AssociationAborted) as caught:
            found.extend(item for item, _ in association.stores(items))
        assert (caught.value.source, caught.value.reason) == (0, 0)
        assert not association.is_open
    assert found == [items[3], items[1]]


def test_answers_that_were_on_their_way_when_the_peer_closed_are_told(tmp_path: Path) -> None:
    """It answers the first, says A-ABORT and closes while we send a large second: our failed send loses neither."""

    def script(peer: Peer) -> None:
        for request in peer.requests():
            read_pdu(peer.sock)
            peer.answer(request)
            peer.sock.sendall(encode(Abort(2, 1)))
            peer.sock.shutdown(socket.SHUT_WR)
            peer.read_on()
            return

    items = [*_items(tmp_path, 1), store_item(tmp_path / "big", bytes(50_000_000), uid="1.9")]
    found: list[StoreItem] = []
    with _associated(script, window=2) as association, pytest.raises(AssociationAborted):
        found.extend(item for item, _ in association.stores(items))
    assert found == items[:1]


@pytest.mark.parametrize("kind", ["unknown", "twice", "echo"])
def test_an_answer_to_nothing_breaks_the_protocol(tmp_path: Path, kind: str) -> None:
    """A message id that waits for no response, or has had it: A-ABORT, and what was answered is told."""

    def script(peer: Peer) -> None:
        for request in peer.requests():
            if kind == "twice":
                peer.answer(request)
            peer.answer(request, message_id=request.message_id + (40 if kind == "unknown" else 0))
            if kind == "echo":
                return

    items = _items(tmp_path, 1 if kind == "echo" else 3)
    found: list[StoreItem] = []
    with _associated(script, window=3) as association:
        if kind == "echo":
            answers = association.stores(items)
            assert next(answers) == (items[0], StoreReply(0))
            return
        with pytest.raises(PeerBrokeProtocol, match="waits for none") as caught:
            found.extend(item for item, _ in association.stores(items))
        assert caught.value.section == "PS3.7 Section 9.1.2.1.1"
        verdict = judge(caught.value)
        assert (verdict.outcome, verdict.name) == (Outcome.RETRY, "the peer broke the protocol")
    assert len(found) == (1 if kind == "twice" else 0)


@pytest.mark.parametrize(
    ("sop_class", "instance", "fits"),
    [
        ("", "", True),
        (CT_IMAGE_STORAGE, "", True),
        ("", "1.0", True),
        ("1.2.840.10008.5.1.4.1.1.4", "1.0", False),
        (CT_IMAGE_STORAGE, "1.1", False),
        ("", "1.1", False),
    ],
)
def test_an_answer_may_name_what_was_stored_and_then_it_is_what_we_sent(
    tmp_path: Path, sop_class: str, instance: str, fits: bool
) -> None:
    """Both UIDs are optional (PS3.7 Table 9.3-2); another one breaks the protocol, and nothing counts as stored."""

    def script(peer: Peer) -> None:
        for request in peer.requests():
            peer.say(CStoreResponse(request.message_id, 0, sop_class, instance))

    items = _items(tmp_path, 1)
    found: list[tuple[StoreItem, object]] = []
    with _associated(script, window=2) as association:
        if fits:
            assert list(association.stores(items)) == [(items[0], StoreReply(0))]
            return
        with pytest.raises(AssociationError, match="is not the request's"):
            found.extend(association.stores(items))
    assert not found


@pytest.mark.parametrize("kind", ["data set", "command"])
def test_an_answer_brings_no_data_set(tmp_path: Path, kind: str) -> None:
    """A C-STORE response has none (PS3.7 Section 9.3.1.2): no command that announces one, none behind another message."""

    def script(peer: Peer) -> None:
        for request in peer.requests():
            response = CStoreResponse(request.message_id, 0, request.sop_class_uid, request.sop_instance_uid)
            if kind == "data set":
                peer.say(response, has_data_set=True)
            else:  # a message of another kind has begun, and its first piece is in another PDU
                peer.sock.sendall(encode(PDataTf((Pdv(1, True, False, b"\0\0"),))))
                peer.say(response)

    found: list[object] = []
    with _associated(script, window=2) as association, pytest.raises(AssociationError):
        found.extend(association.stores(_items(tmp_path, 1)))
    assert not found


def test_a_peer_that_forgets_one_answer_is_given_up(tmp_path: Path) -> None:
    """The others come, one every now and then; the forgotten one has its own deadline."""
    timeouts = Timeouts(connect_s=2, association_s=2, response_s=0.3, pdu_s=2, release_s=1)

    def script(peer: Peer) -> None:
        for request in peer.requests():
            if request.sop_instance_uid != "1.0":
                sleep(0.1)
                peer.answer(request)

    items = _items(tmp_path, 200)
    found: list[StoreItem] = []
    with _associated(script, window=2, timeouts=timeouts) as association:
        began = monotonic()
        with pytest.raises(AssociationTimeout) as caught:
            found.extend(item for item, _ in association.stores(items))
        assert caught.value.timer == "response"
        assert monotonic() - began < 5
    assert found
    assert items[0] not in found


def test_a_peer_that_works_one_after_another_has_time_for_each(tmp_path: Path) -> None:
    """Four outstanding, each takes two thirds of the response time: nobody is given up."""
    timeouts = Timeouts(connect_s=2, association_s=2, response_s=0.3, pdu_s=2, release_s=1)

    def script(peer: Peer) -> None:
        for request in peer.requests():
            sleep(0.2)
            peer.answer(request)

    items = _items(tmp_path, 6)
    with _associated(script, window=4, timeouts=timeouts) as association:
        assert [item for item, _ in association.stores(items)] == items


def test_a_file_that_fails_in_its_middle_ends_the_others_too(tmp_path: Path) -> None:
    """The error of that item, then AssociationAborted; the one before it has no answer and is not told of."""

    def script(peer: Peer) -> None:
        with suppress(RemoteProtocolError):  # the last PDU is cut off
            for _ in peer.requests():
                pass

    first, bad = (
        store_item(tmp_path / "a", bytes(100), "1.1"),
        store_item(tmp_path / "b", bytes(2_000_000), "1.2"),
    )
    asked: list[int] = []

    def pace(count: int) -> None:
        asked.append(count)
        if len(asked) == 3:
            os.truncate(bad.path, 1000)

    with _associated(script, window=4) as association:
        answers = association.stores([first, bad], pace=pace)
        item, error = next(answers)
        assert item is bad
        assert isinstance(error, SpoolCorrupt)
        with pytest.raises(AssociationAborted):
            next(answers)
        assert not association.is_open


def test_leaving_the_iteration_early_aborts(tmp_path: Path) -> None:
    """The answers still to come would be taken for those of the next request; until then nothing else may be asked."""
    heard: list[object] = []

    def script(peer: Peer) -> None:
        for request in peer.requests():
            if request.sop_instance_uid == "1.0":
                peer.answer(request)
        heard.append("end")

    items = _items(tmp_path, 4)
    with _associated(script, window=3) as association:
        answers = association.stores(items)
        assert next(answers)[0] is items[0]
        with pytest.raises(LocalProtocolError, match="end the iteration"):
            association.store(items[0])
        answers.close()  # type: ignore[attr-defined]
        assert not association.is_open
    assert heard == ["end"]


def _cut_in(peer: Peer, status: int) -> CStoreRequest:
    """Take one request, then answer a second one when its first data PDU is there; the first of the two."""
    first = next(peer.requests())
    assembler = MessageAssembler([1])
    begun: CStoreRequest | None = None
    is_in_data = False
    while not is_in_data:
        pdu = read_pdu(peer.sock)
        assert isinstance(pdu, PDataTf)
        for part in assembler.feed(pdu.pdvs):
            if isinstance(part, CommandReceived):
                assert isinstance(part.message, CStoreRequest)
                begun = part.message
            else:
                is_in_data = True
    assert begun is not None
    peer.answer(begun, status)
    peer.assembler = assembler
    return first


def test_an_answer_in_the_middle_of_a_data_set_is_taken(tmp_path: Path) -> None:
    """A peer that has no room says so at once; it gets the rest, and the association goes on (PS3.7 Section 9.1.1)."""
    whole: list[bool] = []

    def script(peer: Peer) -> None:
        first = _cut_in(peer, 0xA700)
        sleep(0.2)  # our buffers fill: we hear the answer while we send
        peer.answer(first)
        while isinstance(pdu := read_pdu(peer.sock), PDataTf):
            parts = peer.assembler.feed(pdu.pdvs)
            whole.extend(isinstance(part, DataSetReceived) and part.is_complete for part in parts)
        peer.sock.sendall(encode(ReleaseResponse()))

    items = [*_items(tmp_path, 1), store_item(tmp_path / "big", bytes(50_000_000), uid="1.9")]
    with _associated(script, window=2) as association:
        found = dict(association.stores(items))
        association.release()
    assert found == {items[0]: StoreReply(0), items[1]: StoreReply(0xA700)}
    assert whole.count(True) == 1


def test_a_success_before_the_last_byte_is_none_when_the_file_fails(tmp_path: Path) -> None:
    """The peer cannot have what was never sent: that item has its error, once, and no answer."""

    def script(peer: Peer) -> None:
        _cut_in(peer, 0)
        sleep(0.2)
        peer.read_on()

    first, bad = (
        store_item(tmp_path / "a", bytes(100), "1.1"),
        store_item(tmp_path / "b", bytes(50_000_000), "1.2"),
    )
    sent = 0

    def pace(count: int) -> None:
        nonlocal sent
        sent += count
        if sent > 45_000_000:
            os.truncate(bad.path, 1000)

    found: list[tuple[StoreItem, object]] = []
    with _associated(script, window=2) as association, pytest.raises(AssociationAborted):
        found.extend(association.stores([first, bad], pace=pace))
    ((item, error),) = found
    assert item is bad
    assert isinstance(error, SpoolCorrupt)


@pytest.mark.parametrize(("size", "outstanding"), [(1000, 1), (100_000, 0)])
def test_an_answer_is_told_once_a_small_next_is_on_its_way_and_before_a_large_one(
    tmp_path: Path, size: int, outstanding: int
) -> None:
    """The peer need not wait for our caller, and our caller need not wait for a large file."""

    def script(peer: Peer) -> None:
        for request in peer.requests():
            peer.answer(request)

    items = [*_items(tmp_path, 1), store_item(tmp_path / "next", bytes(size), uid="1.9")]
    with _associated(script, window=1) as association:
        answers = association.stores(items)
        assert next(answers) == (items[0], StoreReply(0))
        assert association.outstanding == outstanding
        assert list(answers) == [(items[1], StoreReply(0))]
        assert association.outstanding == 0


def test_an_instance_is_outstanding_from_its_first_byte_on(tmp_path: Path) -> None:
    """`pace` is asked before it, and then before each of its other PDUs."""

    def script(peer: Peer) -> None:
        for request in peer.requests():
            peer.answer(request)

    items = [*_items(tmp_path, 1), store_item(tmp_path / "next", bytes(40_000), uid="1.9")]
    seen: list[tuple[int, int]] = []
    with _associated(script, window=1) as association:
        list(association.stores(items, pace=lambda count: seen.append((count, association.outstanding))))
    assert seen == [(1000, 0), (16_378, 0), (16_378, 1), (7244, 1)]


@pytest.mark.parametrize("size", [1000, 100_000])
def test_what_was_answered_is_told_before_an_error_of_the_caller(tmp_path: Path, size: int) -> None:
    """Of `pace`, or of the iterable: a fault of ours takes nothing back that the peer has answered."""

    def script(peer: Peer) -> None:
        for request in peer.requests():
            peer.answer(request)

    items = [*_items(tmp_path, 1), store_item(tmp_path / "next", bytes(size), uid="1.9")]

    def pace(_: int) -> None:
        if calls.pop():
            raise ZeroDivisionError

    found: list[tuple[StoreItem, object]] = []
    calls = [True, False]
    with _associated(script, window=1) as association, pytest.raises(ZeroDivisionError):
        found.extend(association.stores(items, pace=pace))
    assert found == [(items[0], StoreReply(0))]
