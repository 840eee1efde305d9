"""From the trail to the audit repository: syslog over TLS (RFC 5425)."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from dicomrelay.audit import syslog
from dicomrelay.audit.auditing import FOLDER, trail_of
from dicomrelay.audit.message import Source, as_xml
from dicomrelay.audit.repository import Connection, RepositoryAway
from dicomrelay.audit.shipped import Place, Shipped
from dicomrelay.audit.trail import Trail, read_line
from dicomrelay.errors import AuditError
from dicomrelay.log import get_logger
from dicomrelay.settings import AuditSyslogSettings, Settings

# As XML it is five times as much; what is not known to be heard when a connection breaks is sent again.
_BATCH_BYTES: Final = 32 * 1024
_LOOK_EVERY_S: Final = 0.5
# What was taken by a machine whose process then died unread would be lost: the connection has to stand for so long.
_STANDS_S: Final = 2.0
_AGAIN_S: Final = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
_log = get_logger("dicomrelay.audit")


class Shipper:
    """Sends the trail of a home, in its order.

    Parameters
    ----------
    connect : callable
        Gives a connection; raises RepositoryAway.
    clock : callable
        Seconds, monotonic.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        connect: Callable[[AuditSyslogSettings], Connection] = Connection,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        assert settings.audit.syslog is not None  # noqa: S101 - the caller has looked
        self._syslog = settings.audit.syslog
        self._folder = settings.path(FOLDER)
        self._trail: Trail = trail_of(settings)
        self._shipped = Shipped(self._folder)
        self._source = source_of(settings)
        self._host = socket.gethostname()
        self._connect = connect
        self._clock = clock
        self._connection: Connection | None = None
        # How far was sent, and when; it counts as heard when the connection still stands a while later.
        self._sent: deque[tuple[float, Place]] = deque()

    def run(self, stop: threading.Event) -> None:
        """Send what there is and what comes, until `stop` is set.

        Raises
        ------
        ConfigurationError
            A certificate's file cannot be used.
        AuditError
            The trail cannot be read, or how far it was sent cannot be written.
        """
        failures = 0
        with self._alone(stop):
            while not stop.is_set():
                try:
                    sent = self.send_some()
                    if failures:
                        _log.info("the audit repository answers again", action="audit.repository-back")
                    failures = 0
                    if not sent:
                        stop.wait(_LOOK_EVERY_S)
                except RepositoryAway as error:
                    self._drop()
                    if not failures:
                        _log.error(
                            "the audit repository is away: what happens is kept and sent later",
                            action="audit.repository-away",
                            reason=str(error),
                        )
                    stop.wait(_AGAIN_S[min(failures, len(_AGAIN_S) - 1)])
                    failures += 1
            self.close()

    def send_some(self) -> int:
        """Send the next batch; how many entries.

        Raises
        ------
        RepositoryAway
            It was not taken: all that is not known to be heard is sent again.
        """
        if self._connection is not None:
            self._connection.check()
            self._heard(self._clock() - _STANDS_S)
        place = self._place()
        if place is None:
            return 0
        lines = self._trail.lines(place.segment, place.offset, _BATCH_BYTES)
        if not lines:
            # A line without its end in a segment that nobody writes to any more is torn.
            later = [segment for segment in self._trail.segments() if segment > place.segment]
            if not later:
                return 0
            self._went_on(Place(later[0]))
            return self.send_some()
        entries = [entry for line, _ in lines if (entry := read_line(line)) is not None]
        frames = [
            syslog.frame(syslog.message(entry, as_xml(entry, self._source), host=self._host))
            for entry in entries
        ]
        if frames:
            if self._connection is None:
                self._connection = self._connect(self._syslog)
            self._connection.send(b"".join(frames))
        self._went_on(Place(place.segment, lines[-1][1]))
        return len(entries)

    def close(self) -> None:
        """End the connection; what the other side says to have read by then counts as heard."""
        connection, self._connection = self._connection, None
        if connection is None or connection.close():
            self._heard(float("inf"))
        self._sent.clear()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        self._sent.clear()
        if connection is not None:
            connection.close()

    def _went_on(self, place: Place) -> None:
        self._sent.append((self._clock(), place))

    def _heard(self, until: float) -> None:
        """What was sent until then is heard."""
        place: Place | None = None
        while self._sent and self._sent[0][0] <= until:
            _, place = self._sent.popleft()
        if place is not None:
            self._shipped.write(place)

    def _place(self) -> Place | None:
        """Behind what was sent last over this connection, or what is known to be heard."""
        if self._sent:
            return self._sent[-1][1]
        found = self._shipped.read()
        segments = self._trail.segments()
        if found is not None and (not segments or found.segment >= segments[0]):
            return found
        return Place(segments[0]) if segments else None

    @contextlib.contextmanager
    def _alone(self, stop: threading.Event) -> Iterator[None]:
        """One shipper a home; a second waits until the first has ended, or until `stop`."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self._folder / "ship.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise AuditError(f"{self._folder}: cannot be used: {error.strerror}") from None
        try:
            while not stop.is_set():
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    stop.wait(1)
            yield
        finally:
            os.close(lock)


def source_of(settings: Settings) -> Source:
    """Who reports, by the settings."""
    host = socket.gethostname()
    ae_title = settings.gateway.ae_title
    return Source(
        settings.audit.source_id or f"{ae_title}@{host}".replace(" ", "_"),
        ae_title,
        f"dicomrelay@{host}",
        host,
        settings.audit.site_id or "",
    )
