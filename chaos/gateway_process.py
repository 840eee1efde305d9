"""A gateway process of one's own, to be attacked: started with given settings, its memory, threads and descriptors read."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dicomrelay.dicom.uids import VERIFICATION
from dicomrelay.net.requestor import Association, RemoteAe, Timeouts
from dicomrelay.runtime.ports import free_ports

_START_WITHIN_S: Final = 20.0
_PATIENT: Final = Timeouts(connect_s=5, association_s=5, response_s=5, pdu_s=5, release_s=5)
# Deadlines that let a run of a hundred thousand inputs end today; a hospital's are a hundred times longer.
SHORT: Final[Mapping[str, object]] = {
    "association_timeout_s": 1.0,
    "pdu_timeout_s": 1.0,
    "idle_timeout_s": 1.0,
    "min_free_bytes": 0,
}


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process holds, of /proc.

    Attributes
    ----------
    rss_bytes, peak_rss_bytes : int
        Memory that is resident now, and the most there ever was.
    threads : int
    descriptors : int
        Open ones, the files of the spool that are being written or kept ready left out: `half_written` looks after them.
    """

    rss_bytes: int
    peak_rss_bytes: int
    threads: int
    descriptors: int

    def holds_no_more_than(self, other: Usage) -> bool:
        """In threads and descriptors."""
        return self.threads <= other.threads and self.descriptors <= other.descriptors


def usage_of(pid: int | str) -> Usage:
    """What process `pid` ("self" too) holds now."""
    fields = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text("ascii", "replace").splitlines()
    )

    def kilobytes(name: str) -> int:
        return int(fields[name].split()[0]) * 1024

    return Usage(
        kilobytes("VmRSS"),
        kilobytes("VmHWM"),
        int(fields["Threads"]),
        sum(_is_counted(pid, fd) for fd in os.listdir(f"/proc/{pid}/fd")),
    )


def _is_counted(pid: int | str, descriptor: str) -> bool:
    try:
        target = str(Path(f"/proc/{pid}/fd/{descriptor}").readlink())
    except OSError:  # closed meanwhile
        return False
    return not target.removesuffix(" (deleted)").endswith(".part")


def half_written(home: Path) -> list[Path]:
    """Files of items that are not whole. Those without a byte but zeros are the spool's reserve."""
    found = []
    for path in (home / "spool" / "new").glob("*.part"):
        with contextlib.suppress(FileNotFoundError):
            if path.read_bytes().strip(b"\0"):
                found.append(path)
    return found


class GatewayProcess:
    """`python -m scp_gateway` on a free port.

    Parameters
    ----------
    home : Path
        Made when it is not there.
    settings : mapping
        Keys of [gateway]; `SHORT` and a free port are there already.
    more : str
        Further tables of its relay.toml.
    tls : ssl.SSLContext, optional
        For the C-ECHO, of a gateway whose tables turn TLS on.
    """

    def __init__(
        self,
        home: Path,
        settings: Mapping[str, object] | None = None,
        *,
        more: str = "",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.home = home
        self._tls = tls
        self.port = free_ports(1)[0]
        self._ae_title = str((settings or {}).get("ae_title", "DICOMRELAY"))
        home.mkdir(parents=True, exist_ok=True)
        lines = [
            f"{key} = {_toml(value)}"
            for key, value in {**SHORT, "port": self.port, **(settings or {})}.items()
        ]
        (home / "relay.toml").write_text("[gateway]\n" + "\n".join(lines) + "\n" + more, encoding="utf-8")
        self._log = (home / "gateway.log").open("ab")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def remote(self) -> RemoteAe:
        """Where it listens."""
        return RemoteAe(self._ae_title, "127.0.0.1", self.port)

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """What it said so far."""
        return (self.home / "gateway.log").read_text("utf-8", "replace")

    def start(self) -> None:
        """Start, and wait until it answers C-ECHO."""
        argv = [sys.executable, "-m", "scp_gateway", "--home", str(self.home)]
        self._process = subprocess.Popen(argv, stdout=self._log, stderr=self._log)
        deadline = time.monotonic() + _START_WITHIN_S
        while True:
            with contextlib.suppress(OSError):
                self.connect().close()
                break
            if not self.is_alive or time.monotonic() > deadline:
                self._process.kill()
                raise RuntimeError(
                    f"the gateway does not start, see {self.home}/gateway.log: {self.log[-500:]}"
                )
            time.sleep(0.02)
        self.echo()

    def stop(self) -> int:
        """SIGTERM, SIGKILL for one that does not listen; its exit code."""
        code = 0
        if self._process is not None:
            self._process.terminate()
            try:
                code = self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                code = self._process.wait()
        self._log.close()
        return code

    def usage(self) -> Usage:
        """What it holds now."""
        assert self._process is not None
        return usage_of(self._process.pid)

    def connect(self, timeout_s: float = 10.0) -> socket.socket:
        """A plain TCP connection to it."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s)

    def echo(self) -> float:
        """C-ECHO: how long it took, association and all, in seconds.

        Raises
        ------
        AssociationError
            It does not answer as it should.
        """
        began = time.monotonic()
        contexts = ((VERIFICATION, ("1.2.840.10008.1.2",)),)
        with Association.request(
            self.remote, calling_ae_title="ECHO", contexts=contexts, timeouts=_PATIENT, tls=self._tls
        ) as open_one:
            if open_one.echo() != 0:
                raise RuntimeError("C-ECHO was answered by a failure")
        return time.monotonic() - began

    def at_rest(self, *, quiet_s: float = 0.3, within_s: float = 15.0) -> Usage:
        """What it holds once its threads and descriptors have not changed for `quiet_s`: a baseline that hides no leak.

        Raises
        ------
        RuntimeError
            They change for `within_s`.
        """
        deadline = time.monotonic() + within_s
        found, since = self.usage(), time.monotonic()
        while (now_s := time.monotonic()) - since < quiet_s:
            if now_s > deadline:
                raise RuntimeError(f"the gateway does not come to rest: {found}")
            time.sleep(0.02)
            now = self.usage()
            if (now.threads, now.descriptors) != (found.threads, found.descriptors):
                since = time.monotonic()
            found = now
        return found

    def settle(self, baseline: Usage, *, within_s: float = 10.0) -> Usage:
        """Wait until threads and descriptors are those of `baseline` again; what is held then, or at the end of the wait."""
        deadline = time.monotonic() + within_s
        while True:
            now = self.usage()
            if now.holds_no_more_than(baseline) or time.monotonic() > deadline:
                return now
            time.sleep(0.05)

    def __enter__(self) -> GatewayProcess:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else str(value)
