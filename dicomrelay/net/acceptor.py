"""The listener: admission before a thread is spent, one thread an association, a clean stop.

`serve` runs one selector loop over the listening socket and over the few connections that are being rejected; those
cost no thread. An association that is admitted gets a thread and everything else there.
"""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import threading
from collections import Counter
from time import monotonic
from typing import Final

from dicomrelay.errors import ConfigurationError, PortInUse
from dicomrelay.log import get_logger
from dicomrelay.net.commits import CommitPool
from dicomrelay.net.edge import ask
from dicomrelay.net.limits import AcceptorLimits
from dicomrelay.net.provider import (
    ADDRESS_NOT_ADMITTED,
    LOCAL_LIMIT_EXCEEDED,
    ProviderAssociation,
    Stopped,
)
from dicomrelay.net.refusal import Refusal
from dicomrelay.net.service import Admission, AssociationService, Rejection
from dicomrelay.net.tls import TlsDoor

_log = get_logger("dicomrelay.net")

_BACKLOG: Final = 512
# How long the listener rests when the process has no descriptor or thread left.
_REST_S: Final = 0.2
# How long after the grace `stop` waits for threads that are inside the service (a slow disk).
_SERVICE_GRACE_S: Final = 5.0


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Parameters
    ----------
    host : str
        Address or name to listen on; an empty string means all addresses.
    port : int
        0 to 65535; 0 lets the system choose one.

    Raises
    ------
    PortInUse
        Another program listens there.
    ConfigurationError
        The address is not of this machine, the name is unknown, or the port wants privileges.
    """
    if not 0 <= port <= 65_535:  # getaddrinfo would take it modulo 65536
        raise ConfigurationError(f"cannot listen on port {port}: a port is 0 to 65535")
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:  # the latter: an empty part of a name, or one over 63 characters
        raise ConfigurationError(f"cannot listen on {host!r} port {port}: {error}") from error
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(
                f"port {port} of {host or 'this machine'} is in use: stop the other program or choose another port"
            ) from error
        raise ConfigurationError(f"cannot listen on {host!r} port {port}: {error.strerror}") from error
    return listener


class Acceptor:
    """Serves associations on one listening socket.

    Parameters
    ----------
    listener : socket.socket
        From `listen`; closed when serving ends.
    service : AssociationService
    limits : AcceptorLimits
    tls : TlsDoor, optional
        None for plain DICOM. Handshakes are the associations' own, in their threads.
    """

    def __init__(
        self,
        listener: socket.socket,
        service: AssociationService,
        limits: AcceptorLimits,
        tls: TlsDoor | None = None,
    ) -> None:
        self._listener = listener
        self._service = service
        self._limits = limits
        self._tls = tls
        self._pool = CommitPool()
        self._selector = selectors.DefaultSelector()
        self._wake: socket.socket | None = None
        self._stopping = threading.Event()
        self._served = threading.Event()
        self._served.set()
        self._stop_deadline = float("inf")
        self._lock = threading.Lock()
        self._threads: dict[threading.Thread, socket.socket] = {}
        self._by_peer: Counter[str] = Counter()
        self._refusals: dict[socket.socket, Refusal] = {}
        self._resume_at = 0.0

    @property
    def open_associations(self) -> int:
        """Connections that have a thread now."""
        with self._lock:
            return len(self._threads)

    def serve(self) -> None:
        """Accept connections until `stop`."""
        with self._lock:
            if self._stopping.is_set():
                self._selector.close()
                self._listener.close()
                return
            waker, self._wake = socket.socketpair()
            self._served.clear()
        self._listener.setblocking(False)
        self._selector.register(waker, selectors.EVENT_READ)
        self._selector.register(self._listener, selectors.EVENT_READ)
        try:
            while not self._stopping.is_set():
                self._turn()
        finally:
            for refusal in list(self._refusals.values()):
                self._forget(refusal)
            self._selector.close()
            self._listener.close()
            with self._lock:
                self._wake.close()
                self._wake = None
            waker.close()
            self._served.set()

    def stop(self, grace_s: float) -> None:
        """Take no new association, let those that are open finish within `grace_s` seconds, then abort them.

        May be called again, to shorten the grace. Blocks until the threads are gone; one that is held up inside the
        service gets some seconds more, and is then left to the end of the process (threads are daemons). Before
        `serve` has begun it closes the listener, and `serve` then returns at once.
        """
        self._stop_deadline = monotonic() + grace_s
        with self._lock:
            self._stopping.set()
            if self._wake is not None:
                self._wake.send(b"\0")
            else:  # serving has not begun, or is over
                self._listener.close()
        self._served.wait(_SERVICE_GRACE_S)
        self._join(self._stop_deadline)
        with self._lock:
            for sock in self._threads.values():
                _interrupt(sock)
        self._join(monotonic() + self._limits.linger_s + _SERVICE_GRACE_S)
        self._pool.close()
        left = self.open_associations
        if left:
            _log.warning("associations are still inside the service", action="stop", associations=left)

    # ---- the loop

    def _turn(self) -> None:
        now = monotonic()
        if self._resume_at and now >= self._resume_at:
            self._resume_at = 0.0
            self._selector.register(self._listener, selectors.EVENT_READ)
        for refusal in [each for each in self._refusals.values() if each.deadline <= now]:
            self._forget(refusal)
        for key, _ in self._selector.select(self._patience_s(now)):
            if key.fileobj is self._listener:
                self._accept()
            elif isinstance(key.data, Refusal) and key.data.sock in self._refusals and key.data.advance():
                self._forget(key.data)

    def _patience_s(self, now: float) -> float | None:
        moments = [refusal.deadline for refusal in self._refusals.values()]
        if self._resume_at:
            moments.append(self._resume_at)
        return max(0.0, min(moments) - now) if moments else None

    def _accept(self) -> None:
        try:
            sock, address = self._listener.accept()
        except (BlockingIOError, ConnectionError):
            return  # the peer has thought better of it
        except OSError as error:
            self._rest(f"cannot accept: {error.strerror}")
            return
        peer = str(address[0])
        with self._lock:
            is_open, of_peer = len(self._threads), self._by_peer[peer]
        admitted, failure = ask(self._service.admit, peer, is_open)
        room = self._limits.max_associations
        if admitted is not Admission.KNOWN:
            room -= self._limits.reserved_associations
        is_full = is_open >= room or of_peer >= self._limits.max_associations_per_peer
        if failure is None and admitted is Admission.REFUSED:
            self._refuse(sock, ADDRESS_NOT_ADMITTED)
            ask(self._service.turned_away, peer, "nobody may call from that address")
        elif failure is not None or is_full:
            self._refuse(sock, LOCAL_LIMIT_EXCEEDED)
            ask(self._service.turned_away, peer, "no room for another association")
        else:
            self._start(sock, (peer, int(address[1])))

    def _start(self, sock: socket.socket, address: tuple[str, int]) -> None:
        thread = threading.Thread(
            target=self._run, args=(sock, address), name=f"association {address[0]}:{address[1]}", daemon=True
        )
        with self._lock:
            self._threads[thread] = sock
            self._by_peer[address[0]] += 1
        try:
            thread.start()
        except RuntimeError as error:  # no thread left
            self._ended(thread, address[0])
            sock.close()
            self._rest(str(error))

    def _run(self, sock: socket.socket, address: tuple[str, int]) -> None:
        try:
            ProviderAssociation(
                sock, address, self._service, self._limits, self._check_stop, self._pool, self._tls
            ).run()
        except OSError as error:  # the socket died before it could be set up
            _log.info("connection lost at once", action="association-refused", error=str(error))
        finally:
            sock.close()
            self._ended(threading.current_thread(), address[0])

    def _check_stop(self) -> None:
        if monotonic() >= self._stop_deadline:
            raise Stopped("this application is stopping")

    def _ended(self, thread: threading.Thread, peer: str) -> None:
        with self._lock:
            del self._threads[thread]
            self._by_peer[peer] -= 1
            if not self._by_peer[peer]:
                del self._by_peer[peer]

    def _rest(self, reason: str) -> None:
        _log.error("the listener rests", action="listener-rest", reason=reason, seconds=_REST_S)
        self._selector.unregister(self._listener)
        self._resume_at = monotonic() + _REST_S

    # ---- those that are rejected

    def _refuse(self, sock: socket.socket, rejection: Rejection) -> None:
        if len(self._refusals) >= self._limits.max_refusals:
            # Who waits longest had its chance to ask; in a crowd of silent peers the newcomer may be one that does.
            self._forget(next(iter(self._refusals.values())))
        patience_s = min(self._limits.association_timeout_s, self._limits.linger_s + 3.0)
        refusal = Refusal(sock, monotonic() + patience_s, rejection)
        self._refusals[sock] = refusal
        self._selector.register(sock, selectors.EVENT_READ, refusal)

    def _forget(self, refusal: Refusal) -> None:
        self._selector.unregister(refusal.sock)
        del self._refusals[refusal.sock]
        refusal.sock.close()

    def _join(self, deadline: float) -> None:
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join(max(0.0, deadline - monotonic()))


def _interrupt(sock: socket.socket) -> None:
    """Wake a thread that waits in a read: it finds that the grace is over."""
    with contextlib.suppress(OSError):  # closed already
        sock.shutdown(socket.SHUT_RD)
