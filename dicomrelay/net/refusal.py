"""A connection that is rejected without a thread (PS3.8 Table 9-21).

It reads the A-ASSOCIATE-RQ, because an A-ASSOCIATE-RJ answers one, and waits for the peer to close. The acceptor's
loop drives it and ends it at its deadline.
"""

from __future__ import annotations

import socket
from contextlib import suppress

from dicomrelay.errors import LocalProtocolError, PeerSpeaksTls, RemoteProtocolError
from dicomrelay.net.service import Rejection
from dicomrelay.net.tls_faults import ACCESS_DENIED, INTERNAL_ERROR, alert
from dicomrelay.ul.connection import Connection
from dicomrelay.ul.pdu import AssociateRequest
from dicomrelay.ul.state import State


class Refusal:
    """One connection that is not served.

    Parameters
    ----------
    sock : socket.socket
        Accepted; made non-blocking here.
    deadline : float
        When its time is over, of the monotonic clock.
    rejection : Rejection
        What its A-ASSOCIATE-RQ is answered.
    """

    __slots__ = ("_connection", "_rejection", "deadline", "sock")

    def __init__(self, sock: socket.socket, deadline: float, rejection: Rejection) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.deadline = deadline
        self._rejection = rejection
        self._connection = Connection(max_pdu_bytes=16_384)
        self._connection.transport_accepted()

    def advance(self) -> bool:
        """Read what has come; True when the connection is over."""
        connection = self._connection
        try:
            connection.received(self.sock.recv_into(connection.receive_buffer()))
            event = connection.next_event()
            # The machine itself answers a protocol version that it does not know (AE-6).
            answer = (
                connection.send(self._rejection)
                if isinstance(event, AssociateRequest)
                else connection.take_output()
            )
            if answer:
                self.sock.send(answer)
                self.sock.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            return False
        except PeerSpeaksTls:  # no PDU reaches it without a handshake, which a refusal is not worth
            with suppress(OSError):
                is_final = self._rejection.result == 1
                self.sock.send(alert(ACCESS_DENIED if is_final else INTERNAL_ERROR))
            return True
        except (OSError, RemoteProtocolError, LocalProtocolError):
            return True
        return connection.state is State.STA1_IDLE
