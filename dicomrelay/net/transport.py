"""A TCP socket with the protocol machine on it, and a deadline on every wait.

The socket blocks, with SO_RCVTIMEO and SO_SNDTIMEO set to a short tick: one system call a read, and deadlines are
looked at when a tick passes or when a read brings less than a PDU. So a peer that sends one byte at a time ends at
the deadline of its PDU, however often it sends. All times are of the monotonic clock.
"""

from __future__ import annotations

import contextlib
import secrets
import select
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Final

from dicomrelay.errors import AssociationAborted, AssociationTimeout
from dicomrelay.ul.connection import Connection, ConnectionClosed, ConnectionEvent
from dicomrelay.ul.state import State

_QUICKACK: Final[int | None] = getattr(socket, "TCP_QUICKACK", None)
_MAX_TICK_S: Final = 1.0
# One sendmsg takes 1024 (IOV_MAX).
MAX_PARTS: Final = 1024


@dataclass(frozen=True, slots=True)
class Waits:
    """How long a transport waits, and who may end a wait.

    Attributes
    ----------
    pdu_s : float
        For one PDU, either way.
    shortest_s : float
        The shortest of the other deadlines: it sets how often they are looked at.
    interrupted : callable, optional
        Asked at each tick; what it raises ends the wait.
    """

    pdu_s: float
    shortest_s: float
    interrupted: Callable[[], None] | None = None


class Transport:
    """The driver of one `Connection`.

    Parameters
    ----------
    sock : socket.socket
        Connected; owned from now on.
    connection : Connection
    waits : Waits
    """

    def __init__(self, sock: socket.socket, connection: Connection, waits: Waits) -> None:
        self.sock = sock
        self.connection = connection
        self.waits = waits
        self._pdu_timeout_s = waits.pdu_s
        self._interrupted = waits.interrupted
        self._hear: Callable[[], None] | None = None
        self._wakes: select.poll | None = None
        self._wake_descriptor = -1
        self._receive_flags = 0
        self._pdu_deadline: float | None = None  # of the PDU that has begun to arrive
        self._pdu_number = 0
        self._tick_s = tick_s = min(_MAX_TICK_S, waits.pdu_s / 4, waits.shortest_s / 4)
        interval = struct.pack("ll", int(tick_s), int(tick_s % 1 * 1_000_000) or 1)
        sock.settimeout(None)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, interval)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, interval)

    def wait_event(self, deadline: float, timer: str) -> ConnectionEvent:
        """The next event, waiting for it until `deadline`; what the machine itself has to say meanwhile is sent.

        Raises
        ------
        RemoteProtocolError
            The peer broke the protocol; the A-ABORT waits in the connection's output.
        AssociationTimeout
            The deadline passed (`timer`), or the peer's PDU did not become whole in its time ("PDU").
        AssociationAborted
            The connection was lost while sending.
        """
        while (event := self.next_event()) is None:
            self.receive(deadline, timer)
        return event

    def next_event(self) -> ConnectionEvent | None:
        """The next event of what is received already; what the machine itself has to say is sent.

        Raises
        ------
        RemoteProtocolError, AssociationTimeout, AssociationAborted
            As `wait_event`.
        """
        connection = self.connection
        event = connection.next_event()
        if event is not None:
            return event
        output = connection.take_output()  # an A-ASSOCIATE-RJ (AE-6), an A-ABORT (AA-7)
        if output:
            self.send(output)
        # An A-ABORT in Sta2 or Sta13 is indicated to nobody (AA-2), and nothing will come any more.
        return ConnectionClosed() if connection.state is State.STA1_IDLE else None

    @contextmanager
    def hearing(self, hear: Callable[[], None]) -> Iterator[None]:
        """While it lasts a send that finds no room calls `hear` when the peer has something to say, and goes on.

        Otherwise two ends that both send would wait for each other with full buffers. `hear` reads with `receive`, which
        does not wait then.
        """
        self._hear = hear
        self.sock.setblocking(False)
        try:
            yield
        finally:
            self._hear = None
            with contextlib.suppress(OSError):  # closed meanwhile
                self.sock.setblocking(True)

    def receive(self, deadline: float, timer: str, *, more_is_due: bool = False) -> None:
        """One read into the connection, waiting for it until `deadline`. Voids the views of earlier events.

        `more_is_due` says that the peer is in the middle of a message.
        """
        connection = self.connection
        is_partial = connection.has_partial_pdu
        if _QUICKACK is not None and (is_partial or more_is_due):
            # A peer with Nagle's algorithm on holds the rest back until what we have is acknowledged: now, and not
            # 40 ms later with an answer that waits for the rest.
            self.sock.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
        if is_partial:
            now = monotonic()
            if self._pdu_deadline is None or self._pdu_number != connection.pdus_received:
                self._pdu_number = connection.pdus_received
                self._pdu_deadline = now + self._pdu_timeout_s
            self._check(deadline, timer, now)
        else:
            self._pdu_deadline = None
        space = connection.receive_buffer()
        rest_at: float | None = None
        while True:
            try:
                count = self._read_into(space)
                break
            except BlockingIOError:
                if self._hear is not None or self._is_woken():
                    return
                now = monotonic()
                self._check(deadline, timer, now)
                if rest_at is None:
                    rest_at = now + self._tick_s / 2
                elif now >= rest_at:
                    connection.rest()
                    space = connection.receive_buffer()
            except OSError:
                count = 0  # reset: gone, as after a close
                break
        if count == 0 and self._interrupted is not None:
            self._interrupted()  # an acceptor that stops wakes us by closing this end
        connection.received(count)

    def receive_now(self) -> bool:
        """One read into the connection of what is there already; whether anything was. Voids the views of earlier events."""
        if self._interrupted is not None:
            self._interrupted()
        space = self.connection.receive_buffer()
        flags, self._receive_flags = self._receive_flags, socket.MSG_DONTWAIT
        try:
            count = self._read_into(space)
        except BlockingIOError:
            return False
        except OSError:
            count = 0  # reset: gone, as after a close
        finally:
            self._receive_flags = flags
        if count == 0 and self._interrupted is not None:
            self._interrupted()  # an acceptor that stops closes this end
        self.connection.received(count)
        return True

    def receive_within(self, seconds: float) -> bool:
        """As `receive_now`, once something is there or the time is over."""
        if self.receive_now():
            return True
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return bool(poll.poll(max(1, round(seconds * 1000)))) and self.receive_now()

    def wake_by(self, descriptor: int) -> None:
        """From now on `receive` returns with nothing, too, when that descriptor can be read."""
        self._wakes = select.poll()
        self._wakes.register(self.sock, select.POLLIN)
        self._wakes.register(descriptor, select.POLLIN)
        self._wake_descriptor = descriptor
        self._receive_flags = socket.MSG_DONTWAIT

    def _is_woken(self) -> bool:
        """Wait one tick for something to read; whether there is something else to do."""
        if self._wakes is None:
            return False
        found = self._wakes.poll(max(1, int(self._tick_s * 1000)))
        return any(descriptor == self._wake_descriptor for descriptor, _ in found)

    def peek(self, deadline: float, timer: str) -> int | None:
        """The first byte that waits to be read, waiting for it until `deadline`; None when the peer has closed.

        Raises
        ------
        AssociationTimeout
            The deadline passed.
        """
        while True:
            self._check(deadline, timer, monotonic())
            try:
                waiting = self.sock.recv(1, socket.MSG_PEEK)
            except BlockingIOError:
                continue
            except OSError:
                return None
            if not waiting and self._interrupted is not None:
                self._interrupted()
            return waiting[0] if waiting else None

    def send(self, data: bytes | memoryview) -> None:
        """Send all of `data` within the time for one PDU.

        Raises
        ------
        AssociationTimeout
            The peer did not take it in time.
        AssociationAborted
            The connection is lost.
        """
        sent = self._try_to_send(data)
        deadline: float | None = None
        while sent < len(data):
            deadline = self._patience(deadline)
            sent += self._try_to_send(memoryview(data)[sent:])

    def send_parts(self, parts: Sequence[bytes | memoryview]) -> None:
        """Send PDUs that lie in pieces, in one system call where it can be.

        Parameters
        ----------
        parts : sequence of bytes or memoryview
            At most `MAX_PARTS`, none of them empty.

        Raises
        ------
        AssociationTimeout, AssociationAborted
            As `send`; the time is that for one PDU of the peer's maximum length, as often as so much has left.
        """
        left = sum(map(len, parts)) - (sent := self._try_to_send_parts(parts))
        deadline: float | None = None
        taken = 0  # since the deadline was set
        while left:
            parts = _behind(parts, sent)
            deadline = self._patience(deadline)
            sent = self._try_to_send_parts(parts)
            left -= sent
            taken += sent
            if taken >= self.connection.peer_max_pdu_bytes:
                deadline, taken = None, 0

    def _read_into(self, space: memoryview) -> int:
        """One read; BlockingIOError when a tick passed, or when nothing came of what was read, 0 at the end."""
        return self.sock.recv_into(space, 0, self._receive_flags)

    def _try_to_send(self, data: bytes | memoryview) -> int:
        """How many bytes went out in one tick, perhaps none."""
        try:
            return self.sock.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise _lost(error) from error

    def _try_to_send_parts(self, parts: Sequence[bytes | memoryview]) -> int:
        """How many bytes went out in one tick, perhaps none."""
        try:
            return self.sock.sendmsg(parts)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise _lost(error) from error

    def _patience(self, deadline: float | None) -> float:
        """The peer has not taken everything at once: until when it may take the rest."""
        now = monotonic()
        if deadline is None:
            deadline = now + self._pdu_timeout_s
        if now > deadline:
            raise AssociationTimeout(f"the peer took no PDU within {self._pdu_timeout_s:g} s", timer="PDU")
        if self._interrupted is not None:
            self._interrupted()
        if self._hear is not None:
            self._wait_for_either(self._hear)
        return deadline

    def _wait_for_either(self, hear: Callable[[], None]) -> None:
        """Wait one tick for room to send, or for something to read."""
        poll = select.poll()
        poll.register(self.sock, select.POLLIN | select.POLLOUT)
        found = poll.poll(max(1, int(self._tick_s * 1000)))
        if found and found[0][1] & ~select.POLLOUT:
            hear()

    def close(self, linger_s: float = 0.0) -> None:
        """Say the last word that waits in the connection's output, read on for at most `linger_s`, and close.

        Reading on matters: closing a socket with unread bytes sends a reset, which may overtake an A-ABORT.
        """
        try:
            output = self._last_bytes(self.connection.take_output())
            if output:
                self.sock.setblocking(False)
                self.sock.send(output)
            if linger_s > 0:
                self.sock.shutdown(socket.SHUT_WR)
                self._drain(monotonic() + linger_s)
        except OSError:
            pass  # nobody is there to hear it
        finally:
            self.sock.close()

    def _last_bytes(self, output: bytes) -> bytes:
        """What the last word is on the wire."""
        return output

    def _drain(self, deadline: float) -> None:
        waste = bytearray(65_536)
        while (left := deadline - monotonic()) > 0:
            self.sock.settimeout(left)
            if self.sock.recv_into(waste) == 0:
                return

    def _check(self, deadline: float, timer: str, now: float) -> None:
        if self._pdu_deadline is not None and now > self._pdu_deadline:
            raise AssociationTimeout(f"a PDU was not whole within {self._pdu_timeout_s:g} s", timer="PDU")
        if now > deadline:
            raise AssociationTimeout(f"the peer was silent too long ({timer})", timer=timer)
        if self._interrupted is not None:
            self._interrupted()


def _behind(parts: Sequence[bytes | memoryview], sent: int) -> Sequence[bytes | memoryview]:
    """What is left of them when so many bytes have left."""
    for number, part in enumerate(parts):
        if sent < len(part):
            return [memoryview(part)[sent:], *parts[number + 1 :]]
        sent -= len(part)
    return []


def _lost(error: OSError) -> AssociationAborted:
    return AssociationAborted(f"the connection was lost while sending: {error.strerror}")


def new_association_id() -> str:
    """Short, and unique enough for logs that are kept for years."""
    return secrets.token_hex(6)
