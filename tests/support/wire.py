"""A peer that writes bytes by hand: whatever no decent implementation would send."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from dicomrelay.dimse.codec import encode_message
from dicomrelay.dimse.messages import CStoreRequest
from dicomrelay.ul.pdu import AssociateRequest, PDataTf, Pdu, Pdv, ProposedContext, UserInformation
from dicomrelay.ul.reader import DECODERS
from dicomrelay.ul.writer import encode
from tests.support.engine import CT_IMAGE_STORAGE, EXPLICIT_VR_LITTLE_ENDIAN

REQUEST = AssociateRequest(
    "RELAY",
    "WIRE",
    "1.2.840.10008.3.1.1.1",
    (
        ProposedContext(1, CT_IMAGE_STORAGE, (EXPLICIT_VR_LITTLE_ENDIAN,)),
        ProposedContext(3, "1.2.840.10008.1.1", ("1.2.840.10008.1.2",)),
    ),
    UserInformation(16_384, "1.2.3", "WIRE"),
)


def read_pdu(sock: socket.socket) -> Pdu | None:
    """The next PDU, or None when the other side has closed."""
    header = _exactly(sock, 6)
    if len(header) < 6:
        return None
    return DECODERS[header[0]](memoryview(_exactly(sock, int.from_bytes(header[2:], "big"))))


def _exactly(sock: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        try:
            piece = sock.recv(count - len(found))
        except ConnectionError:
            return b""
        if not piece:
            return b""
        found += piece
    return found


def associate(sock: socket.socket, request: AssociateRequest = REQUEST) -> Pdu | None:
    """Ask for an association; what came back."""
    sock.sendall(encode(request))
    return read_pdu(sock)


def store_command(*, message_id: int = 1, uid: str = "1.2.3.4") -> bytes:
    """The P-DATA-TF PDU of a C-STORE-RQ in context 1."""
    command = encode_message(CStoreRequest(message_id, CT_IMAGE_STORAGE, uid), has_data_set=True)
    return encode(PDataTf((Pdv(1, True, True, command),)))


def data_pdu(data: bytes, *, is_last: bool) -> bytes:
    """A P-DATA-TF PDU with data set bytes in context 1."""
    return encode(PDataTf((Pdv(1, False, is_last, data),)))


def seconds_until_closed(sock: socket.socket) -> float:
    """How long the other side takes to close, whatever it says before."""
    began = monotonic()
    while _exactly(sock, 1):
        pass
    return monotonic() - began


@contextmanager
def scripted_acceptor(script: Callable[[socket.socket], None]) -> Iterator[int]:
    """A listener that runs `script` with the first connection, in a thread; its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(10)

    def run() -> None:
        sock, _ = listener.accept()
        sock.settimeout(10)
        with sock:
            script(sock)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        thread.join(15)
        listener.close()
        assert not thread.is_alive()
