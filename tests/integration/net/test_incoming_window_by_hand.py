"""A window of asynchronous operations against a peer that keeps to nothing, as acceptor (PS3.7 Annex D.3.3.3)."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from time import sleep

from dicomrelay.dimse.fragments import CommandReceived, MessageAssembler
from dicomrelay.dimse.messages import CStoreResponse
from dicomrelay.net.service import EndingKind
from dicomrelay.ul.pdu import (
    Abort,
    AssociateAccept,
    AsynchronousOperations,
    PDataTf,
    ReleaseRequest,
    ReleaseResponse,
    UserInformation,
)
from dicomrelay.ul.writer import encode
from tests.integration.net.test_incoming_window import CommittingService
from tests.support.engine import Running, running_acceptor
from tests.support.wire import REQUEST, associate, data_pdu, read_pdu, store_command


@contextmanager
def _associated(running: Running, window: int) -> Iterator[socket.socket]:
    information = UserInformation(
        16_384, "1.2.3", "WIRE", asynchronous_operations=AsynchronousOperations(window, 1)
    )
    with socket.create_connection(("127.0.0.1", running.remote.port), timeout=10) as sock:
        assert isinstance(associate(sock, replace(REQUEST, user_information=information)), AssociateAccept)
        yield sock


def _stores(count: int) -> bytes:
    return b"".join(
        store_command(message_id=number, uid=f"1.{number}") + data_pdu(bytes(100), is_last=True)
        for number in range(count)
    )


def _answers(sock: socket.socket) -> tuple[list[int], object]:
    """Message ids of the responses, and the PDU that came after them."""
    assembler, found = MessageAssembler([1]), []
    while isinstance(pdu := read_pdu(sock), PDataTf):
        for part in assembler.feed(pdu.pdvs):
            assert isinstance(part, CommandReceived)
            assert isinstance(part.message, CStoreResponse)
            found.append(part.message.message_id_being_responded_to)
    return found, pdu


def test_a_peer_that_sends_more_than_its_window_is_read_no_further() -> None:
    """Two are committing; of the other four none is begun, however long it takes, and each has its answer."""
    service = CommittingService()
    with running_acceptor(service) as running, _associated(running, 2) as sock:
        sock.sendall(_stores(6))
        service.wait_begun(2)
        sleep(0.3)
        assert sorted(service.begun) == ["1.0", "1.1"]
        for number in range(6):
            service.gate(f"1.{number}").set()
        sock.sendall(encode(ReleaseRequest()))
        answered, last = _answers(sock)
    assert sorted(answered) == list(range(6))
    assert isinstance(last, ReleaseResponse)


def test_a_release_right_behind_forty_requests_is_answered_after_their_forty_answers() -> None:
    """The peer may not have waited for them; it is told of each all the same, and nothing after the A-RELEASE-RP."""
    service = CommittingService()
    with running_acceptor(service) as running, _associated(running, 64) as sock:
        sock.sendall(_stores(40) + encode(ReleaseRequest()))
        service.wait_begun(10)
        sleep(0.2)
        for number in range(40):
            service.gate(f"1.{number}").set()
        answered, last = _answers(sock)
        assert isinstance(last, ReleaseResponse)
        ending = service.wait_ending()
    assert sorted(answered) == list(range(40))
    assert (ending.kind, ending.stored) == (EndingKind.RELEASED, 40)


def test_an_ending_comes_after_the_last_commit_however_the_peer_goes() -> None:
    """A-ABORT, or the connection closed: what commits is kept, counted, and over when the ending is told."""
    for last_words in (encode(Abort(0, 0)), b""):
        service = CommittingService()
        with running_acceptor(service) as running:
            with _associated(running, 4) as sock:
                sock.sendall(_stores(3))
                service.wait_begun(3)
                sock.sendall(last_words)
            sleep(0.3)
            assert service.endings == []
            for number in range(3):
                service.gate(f"1.{number}").set()
            ending = service.wait_ending()
        assert (ending.stored, ending.failed) == (3, 0)
        assert sorted(service.kept) == ["1.0", "1.1", "1.2"]
