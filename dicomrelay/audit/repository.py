"""A connection to the audit repository: TLS, and whether the other side has taken what was sent (RFC 5425)."""

from __future__ import annotations

import fcntl
import select
import socket
import ssl
import struct
import termios
import time
from typing import Final

from dicomrelay.errors import RelayError
from dicomrelay.net.tls import requestor_context
from dicomrelay.settings import AuditSyslogSettings

_TAKEN_POLL_S: Final = 0.02
# What is handed to the kernel at once: of that much, something is taken within the time of any repository that lives.
_PIECE_BYTES: Final = 16 * 1024
# linux/sockios.h: how many bytes the other side has not taken yet. The value of TIOCOUTQ.
_SIOCOUTQ: Final = getattr(termios, "TIOCOUTQ", None)


class RepositoryAway(RelayError):
    """The repository cannot be reached, or the connection to it broke."""

    retryable = True


class Connection:
    """A connection to the repository.

    Raises
    ------
    RepositoryAway
        There is none.
    ConfigurationError
        A certificate's file cannot be used.
    """

    def __init__(self, settings: AuditSyslogSettings) -> None:
        self._settings = settings
        where = f"{settings.host}:{settings.port}"
        context = requestor_context(settings.tls, where="audit.syslog.tls")
        try:
            plain = socket.create_connection((settings.host, settings.port), settings.timeout_s)
        except OSError as error:
            raise RepositoryAway(
                f"{where}: cannot be reached: {error.strerror or type(error).__name__}"
            ) from None
        try:
            self._socket = context.wrap_socket(plain, server_hostname=settings.host)
        except (OSError, ssl.SSLError, ValueError) as error:
            plain.close()
            why = getattr(error, "verify_message", "") or getattr(error, "reason", "") or type(error).__name__
            raise RepositoryAway(f"{where}: no TLS connection: {why}") from None

    def send(self, content: bytes) -> None:
        """Send it, and return once the other side has taken it, however slowly.

        Raises
        ------
        RepositoryAway
            It took nothing for as long as `timeout_s`; or the connection is over.
        """
        try:
            for start in range(0, len(content), _PIECE_BYTES):
                self._socket.sendall(content[start : start + _PIECE_BYTES])
            self._wait_until_taken()
        except OSError as error:
            raise RepositoryAway(f"the connection broke: {error.strerror or type(error).__name__}") from None

    def close(self) -> bool:
        """End it; whether the other side said that it has read all (the closure alert of RFC 8446 Section 6.1)."""
        try:
            self._socket.settimeout(1)
            self._socket.unwrap().close()
        except (OSError, ValueError):
            self._socket.close()
            return False
        return True

    def check(self) -> None:
        """Raise RepositoryAway when the other side has closed. It never has anything to say."""
        readable, _, _ = select.select([self._socket], [], [], 0)
        if not readable:
            return
        try:
            self._socket.settimeout(0.1)
            said = self._socket.recv(4096)
        except TimeoutError:
            return  # tickets of TLS 1.3 and the like
        except OSError as error:
            raise RepositoryAway(f"the connection broke: {error.strerror or type(error).__name__}") from None
        finally:
            self._socket.settimeout(self._settings.timeout_s)
        if not said:
            raise RepositoryAway("the repository closed the connection")

    def _wait_until_taken(self) -> None:
        least: float = float("inf")
        since = time.monotonic()
        while (left := self._not_taken()) > 0:
            now = time.monotonic()
            if left < least:
                least, since = left, now
            elif now - since > self._settings.timeout_s:
                raise RepositoryAway(f"{left} bytes were not taken within {self._settings.timeout_s:g} s")
            time.sleep(_TAKEN_POLL_S)
        self.check()

    def _not_taken(self) -> int:
        if _SIOCOUTQ is None:
            return 0
        answer = fcntl.ioctl(self._socket.fileno(), _SIOCOUTQ, struct.pack("i", 0))
        return int(struct.unpack("i", answer)[0])
