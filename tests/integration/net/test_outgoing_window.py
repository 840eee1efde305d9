"""Several C-STORE requests outstanding, as requestor: answers in any order, full buffers, deaths (PS3.7 Annex D.3.3.3)."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep

import pytest

from dicomrelay.dimse.codec import encode_message
from dicomrelay.dimse.fragments import CommandReceived, DataSetReceived, MessageAssembler
from dicomrelay.dimse.messages import CStoreRequest, CStoreResponse
from dicomrelay.errors import (
    AssociationAborted,
    AssociationTimeout,
    LocalProtocolError,
    RemoteProtocolError,
    SpoolCorrupt,
)
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
        self._assembler = MessageAssembler([1])
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
            for part in self._assembler.feed(pdu.pdvs):
                if isinstance(part, CommandReceived):
                    assert isinstance(part.message, CStoreRequest)
                    request = part.message
                elif isinstance(part, DataSetReceived) and part.is_complete:
                    assert request is not None
                    yield request

    def answer(self, request: CStoreRequest, status: int = 0, *, message_id: int | None = None) -> None:
        """A C-STORE response."""
        number = request.message_id if message_id is None else message_id
        response = CStoreResponse(number, status, request.sop_class_uid, request.sop_instance_uid)
        command = encode_message(response, has_data_set=False)
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
        with pytest.raises(AssociationAborted, match="waits for none"):
            found.extend(item for item, _ in association.stores(items))
    assert len(found) == (1 if kind == "twice" else 0)


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
