"""A peer that does what a script says, association after association: every rejection, abort, status and silence."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from dicomrelay.dimse.codec import encode_message
from dicomrelay.dimse.fragments import CommandReceived, DataSetReceived, MessageAssembler
from dicomrelay.dimse.messages import CEchoRequest, CEchoResponse, CStoreRequest, CStoreResponse
from dicomrelay.ul.pdu import (
    Abort,
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
    ContextDecision,
    PDataTf,
    Pdv,
    ReleaseRequest,
    ReleaseResponse,
    UserInformation,
)
from dicomrelay.ul.reader import decode_associate_request
from dicomrelay.ul.writer import encode
from tests.support.wire import read_pdu


@dataclass
class Script:
    """What the peer does with each association; the first of these that is set. A C-ECHO is always answered.

    Attributes
    ----------
    reset_after : int
        Reset the connection once so many bytes have come; -1: never.
    opening : AssociateReject or Abort
        Answers the request.
    context_result : int
        Of every presentation context; 0 accepts.
    storing : int, Abort or str
        A status, an A-ABORT, or "close", "reset", "silence" in place of the response to a C-STORE.
    storing_of : dict of str
        The same for some SOP Instance UIDs only.
    """

    reset_after: int = -1
    opening: AssociateReject | Abort | None = None
    context_result: int = 0
    storing: int | Abort | str = 0
    storing_of: dict[str, int | Abort | str] = field(default_factory=dict)


@dataclass
class Peer:
    """What came to it.

    Attributes
    ----------
    associations : list of float
        When each connection came, of the monotonic clock.
    whole : list of str
        SOP Instance UIDs of data sets that arrived whole.
    answered : list of str
        Those of them whose response was sent.
    """

    port: int
    script: Script
    associations: list[float] = field(default_factory=list)
    whole: list[str] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)

    def serve(self, sock: socket.socket) -> None:
        """One association to its end."""
        script = self.script
        self.associations.append(time.monotonic())
        if script.reset_after >= 0:
            _swallow(sock, script.reset_after)
            return
        request = read_pdu(sock)
        if not isinstance(request, AssociateRequest):
            return
        if script.opening is not None:
            sock.sendall(encode(script.opening))
            _wait_for_the_end(sock)
            return
        result = script.context_result
        decisions = tuple(
            ContextDecision(each.context_id, result, "" if result else each.transfer_syntaxes[0])
            for each in request.contexts
        )
        sock.sendall(
            encode(
                AssociateAccept(
                    request.called_ae_title,
                    request.calling_ae_title,
                    request.application_context,
                    decisions,
                    UserInformation(65_536, "1.2.3", "SCRIPTED"),
                )
            )
        )
        self._receive(sock, MessageAssembler([each.context_id for each in decisions]))

    def _receive(self, sock: socket.socket, assembler: MessageAssembler) -> None:
        pending: CStoreRequest | None = None
        while (pdu := read_pdu(sock)) is not None:
            if isinstance(pdu, ReleaseRequest):
                sock.sendall(encode(ReleaseResponse()))
                return
            for part in assembler.feed(pdu.pdvs) if isinstance(pdu, PDataTf) else ():
                if isinstance(part, CommandReceived) and isinstance(part.message, CEchoRequest):
                    _answer_echo(sock, part.context_id, part.message)
                elif isinstance(part, CommandReceived) and isinstance(part.message, CStoreRequest):
                    pending = part.message
                elif isinstance(part, DataSetReceived) and part.is_complete and pending is not None:
                    self.whole.append(pending.sop_instance_uid)
                    if not self._answer(sock, part.context_id, pending):
                        return

    def _answer(self, sock: socket.socket, context_id: int, request: CStoreRequest) -> bool:
        """Whether the association goes on."""
        storing = self.script.storing_of.get(request.sop_instance_uid, self.script.storing)
        if isinstance(storing, Abort):
            sock.sendall(encode(storing))
            _wait_for_the_end(sock)
        elif storing == "silence":
            _wait_for_the_end(sock)
        elif storing == "reset":
            _reset(sock)
        elif isinstance(storing, int):
            response = CStoreResponse(
                request.message_id, storing, request.sop_class_uid, request.sop_instance_uid, "said"
            )
            raw = encode_message(response, has_data_set=False)
            self.answered.append(request.sop_instance_uid)
            sock.sendall(encode(PDataTf((Pdv(context_id, True, True, raw),))))
            return True
        return False


@contextmanager
def scripted_peer(script: Script | None = None) -> Iterator[Peer]:
    """A peer on a port of its own; `peer.script` may be changed between associations."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    peer = Peer(listener.getsockname()[1], script or Script())
    threads: list[threading.Thread] = []

    def serve(sock: socket.socket) -> None:
        sock.settimeout(30)
        with sock, suppress(OSError):
            peer.serve(sock)

    def accept() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:  # closed: that is the end
                return
            thread = threading.Thread(target=serve, args=(sock,), daemon=True)
            threads.append(thread)
            thread.start()

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield peer
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)  # wakes accept
        listener.close()
        acceptor.join(10)
        for thread in threads:
            thread.join(10)
        assert not [thread for thread in [acceptor, *threads] if thread.is_alive()]


def _answer_echo(sock: socket.socket, context_id: int, request: CEchoRequest) -> None:
    raw = encode_message(CEchoResponse(request.message_id, 0, request.sop_class_uid), has_data_set=False)
    sock.sendall(encode(PDataTf((Pdv(context_id, True, True, raw),))))


def _swallow(sock: socket.socket, count: int) -> None:
    """Act as an honest acceptor for `count` bytes, then reset."""
    left = count
    seen = bytearray()
    accepted = False
    while left > 0:
        piece = sock.recv(left)
        if not piece:
            break
        left -= len(piece)
        seen += piece
        if not accepted and len(seen) >= 6 and len(seen) >= 6 + int.from_bytes(seen[2:6], "big"):
            accepted = True
            sock.sendall(_acceptance_of(bytes(seen)))
    _reset(sock)


def _acceptance_of(raw: bytes) -> bytes:
    request = decode_associate_request(memoryview(raw)[6 : 6 + int.from_bytes(raw[2:6], "big")])
    decisions = tuple(
        ContextDecision(each.context_id, 0, each.transfer_syntaxes[0]) for each in request.contexts
    )
    titles = request.called_ae_title, request.calling_ae_title, request.application_context
    return encode(AssociateAccept(*titles, decisions, UserInformation(65_536, "1.2.3", "SCRIPTED")))


def _reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def _wait_for_the_end(sock: socket.socket) -> None:
    with suppress(OSError):
        while sock.recv(65_536):
            pass
