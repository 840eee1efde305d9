"""The sockets under httpcore: each wait has a deadline, each fault a name of the house."""

from __future__ import annotations

import select
import socket
import ssl
import threading
from collections.abc import Iterable
from time import monotonic
from typing import Any, Final

import httpcore

from dicomrelay.errors import AssociationAborted, AssociationTimeout, PeerUnreachable
from dicomrelay.net.tls_faults import explain

# For the service to take one piece of a body.
_PIECE_S: Final = 60.0
# Of an answer that does not wait for the end of the request.
_EARLY_BYTES: Final = 65_536


class Waits(threading.local):
    """How long a request of this thread may wait; one request at a time is made in a thread.

    Parameters
    ----------
    where : str
        The service, for words: scheme, host and port.
    connect_s : float
    response_s : float
        From the first look for an answer to its last byte.
    """

    def __init__(self, where: str, connect_s: float, response_s: float) -> None:
        super().__init__()
        self.where = where
        self.connect_s = connect_s
        self.response_s = response_s
        self.begin()

    def begin(self) -> None:
        """A request begins."""
        self._until: float | None = None
        self.has_ended = False  # the service closed the connection

    def left_s(self) -> float:
        """What is left for the answer.

        Raises
        ------
        AssociationTimeout
            Nothing.
        """
        if self._until is None:
            self._until = monotonic() + self.response_s
        left = self._until - monotonic()
        if left <= 0:
            raise self.late()
        return left

    def late(self) -> AssociationTimeout:
        """The answer is not there in time."""
        return AssociationTimeout(
            f"{self.where} did not answer within {self.response_s:g} s", timer="response"
        )


class Backend(httpcore.NetworkBackend):
    """Opens connections for a pool of httpcore."""

    def __init__(self, waits: Waits) -> None:
        self._waits = waits

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """See httpcore; the times are those of `Waits`.

        Raises
        ------
        PeerUnreachable
            No connection.
        """
        del timeout, local_address, socket_options  # nobody asks for them
        try:
            sock = socket.create_connection((host, port), timeout=self._waits.connect_s)
        except OSError as error:
            reason = error.strerror or str(error)
            raise PeerUnreachable(f"cannot connect to {self._waits.where}: {reason}") from error
        except UnicodeError as error:  # of the IDNA codec
            raise PeerUnreachable(f"cannot connect to {self._waits.where}: that is no host name") from error
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Stream(sock, self._waits)


class Stream(httpcore.NetworkStream):
    """One connection."""

    def __init__(self, sock: socket.socket, waits: Waits) -> None:
        self._sock = sock
        self._waits = waits
        self._early = b""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """What has come of the answer.

        Raises
        ------
        AssociationTimeout, AssociationAborted, TlsFailed
            Nothing has, and nothing will.
        """
        del timeout
        if self._early:
            early, self._early = self._early, b""
            return early
        self._sock.settimeout(self._waits.left_s())
        try:
            received = self._sock.recv(max_bytes)
        except TimeoutError:
            raise self._waits.late() from None
        except ssl.SSLError as error:
            if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
                raise self._lost(error) from error
            raise explain(error, self._waits.where) from error
        except OSError as error:
            raise self._lost(error) from error
        self._waits.has_ended = not received
        return received

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send, unless the service says something meanwhile: then it takes no more, and httpcore reads its answer.

        Raises
        ------
        httpcore.WriteError
            It takes no more, or has answered already.
        TlsFailed
            What it says is that it does not take our certificate.
        """
        del timeout
        left = memoryview(buffer)
        until = monotonic() + _PIECE_S
        self._sock.settimeout(0)
        while left:
            self._look_for_an_answer()
            try:
                left = left[self._sock.send(left) :]
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                if not _is_ready(self._sock, select.POLLIN | select.POLLOUT, until - monotonic()):
                    raise httpcore.WriteError("it takes no more") from None
            except OSError as error:
                raise httpcore.WriteError(type(error).__name__) from error

    def _look_for_an_answer(self) -> None:
        """Raise httpcore.WriteError when there is one; what has been read of it is kept for `read`."""
        sock = self._sock
        has_come = _is_ready(sock, select.POLLIN, 0)
        if not isinstance(sock, ssl.SSLSocket):
            if not has_come:
                return
        elif not has_come and not sock.pending():
            return
        else:  # it may be a ticket, which is no answer (RFC 8446 Section 4.6.1)
            try:
                self._early = sock.recv(_EARLY_BYTES)
            except ssl.SSLWantReadError:
                return
            except ssl.SSLEOFError:
                self._early = b""
            except ssl.SSLError as error:
                raise explain(error, self._waits.where) from error
            except OSError as error:
                raise httpcore.WriteError(type(error).__name__) from error
        raise httpcore.WriteError("it has answered, or closed")

    def close(self) -> None:
        """For good."""
        self._sock.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        """The same connection under TLS; closed when there is none.

        Raises
        ------
        TlsFailed, AssociationTimeout, PeerUnreachable
            There is none.
        """
        del timeout
        try:
            self._sock.settimeout(self._waits.connect_s)
            return Stream(ssl_context.wrap_socket(self._sock, server_hostname=server_hostname), self._waits)
        except TimeoutError as error:
            self._sock.close()
            late = f"no TLS with {self._waits.where} within {self._waits.connect_s:g} s"
            raise AssociationTimeout(late, timer="association") from error
        except (ssl.SSLEOFError, ConnectionError) as error:
            self._sock.close()
            words = f"{self._waits.where} ended the connection before there was TLS"
            raise PeerUnreachable(words) from error
        except ssl.SSLError as error:
            self._sock.close()
            raise explain(error, self._waits.where) from error

    def get_extra_info(self, info: str) -> Any:
        """What a pool asks for: whether an idle connection was closed there, and what TLS there is."""
        if info == "is_readable":
            return _is_ready(self._sock, select.POLLIN, 0)
        if info == "ssl_object" and isinstance(self._sock, ssl.SSLSocket):
            return self._sock
        return None

    def _lost(self, error: OSError) -> AssociationAborted:
        return AssociationAborted(f"the connection to {self._waits.where} was lost ({type(error).__name__})")


def _is_ready(sock: socket.socket, events: int, seconds: float) -> bool:
    """Whether it is within so many seconds, or the connection is gone."""
    if sock.fileno() < 0:
        return True
    poll = select.poll()
    poll.register(sock, events)
    return bool(poll.poll(max(0, round(seconds * 1000))))
