"""How a process says that it is ready, in the words of sd_notify(3), so that systemd understands them too."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

READY = b"READY=1"


def notify_ready() -> None:
    """Tell who started us that we are ready; nothing where nobody asked."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        try:
            sock.sendto(READY, "\0" + address[1:] if address.startswith("@") else address)
        except OSError:
            # Whoever asked is gone; there is nobody to tell.
            return


class ReadinessSocket:
    """The other end: one for each process that is started."""

    def __init__(self, name: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="dicomrelay-")
        self.address = str(Path(self._folder.name) / name)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)
        self._socket.bind(self.address)

    def is_ready(self) -> bool:
        """Whether READY=1 has arrived since the last call."""
        try:
            return READY in self._socket.recv(4096)
        except BlockingIOError:
            return False

    def close(self) -> None:
        """Remove the socket."""
        self._socket.close()
        self._folder.cleanup()
