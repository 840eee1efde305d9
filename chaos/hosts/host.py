"""Hosts on one machine: namespaces for network, processes, mounts and name, on a bridge whose wires can be cut. Wants root.

A host sees its own folder and no other host's. When its first process is killed the kernel kills every other one of it at
once: that is a host that is lost. A wire that is taken off the bridge says nothing to either side: that is a partition.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from chaos.network import missing_network
from dicomrelay.runtime import process

_PREFIX: Final = "hosts"
# A name; then every other host's folder vanishes behind an empty file system, and ours is put back over it.
_INIT: Final = """
set -e
hostname "$1"
mount --bind "$2/$1" /mnt
mount -t tmpfs -o size=64k none "$2"
mkdir "$2/$1"
mount --move /mnt "$2/$1"
ip link set lo up
echo ready
exec sleep infinity
"""
_READY_WITHIN_S: Final = 10.0
_PR_SET_PDEATHSIG: Final = 1
_GONE_WITHIN_S: Final = 10.0


def missing_hosts() -> str:
    """Why there can be no hosts here; "" when there can."""
    for name in ("unshare", "nsenter", "hostname", "tc"):
        if not shutil.which(name):
            return f"{name} is not installed"
    if why := missing_network():
        return why
    tried = subprocess.run(
        ["unshare", "--uts", "--pid", "--mount", "--fork", "--mount-proc", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    return f"no namespaces can be made: {tried.stderr.strip()}" if tried.returncode else ""


class Network:
    """A bridge, with this machine's end of it at `.1`.

    Attributes
    ----------
    near : str
        This machine's address.
    """

    def __init__(self) -> None:
        _clear_away_what_the_dead_left()
        self._name = f"{_PREFIX}{os.getpid()}"
        self._net = f"10.{100 + os.getpid() % 50}.{os.getpid() // 50 % 250}"
        self.near = f"{self._net}.1"
        self.range = f"{self._net}.0/24"
        self._next = 2
        self._made: list[str] = []

    def __enter__(self) -> Self:
        _ip("link", "add", f"{self._name}b", "type", "bridge")
        _ip("addr", "add", f"{self.near}/24", "dev", f"{self._name}b")
        _ip("link", "set", f"{self._name}b", "up")
        return self

    def join(self) -> tuple[str, str, str]:
        """A new network namespace on it: its name, the near end of its wire, and its address."""
        name, wire, address = f"{self._name}n{self._next}", f"{self._name}v{self._next}", self.address()
        _ip("netns", "add", name)
        self._made.append(name)
        _ip("link", "add", wire, "type", "veth", "peer", "name", "eth0", "netns", name)
        self.attach(wire)
        _ip("link", "set", wire, "up")
        _ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
        for link in ("lo", "eth0"):
            _ip("-n", name, "link", "set", link, "up")
        self._next += 1
        return name, wire, address

    def address(self) -> str:
        """Of the host that joins next."""
        return f"{self._net}.{self._next}"

    def attach(self, wire: str) -> None:
        """Frames pass."""
        _ip("link", "set", wire, "master", f"{self._name}b")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in self._made:
            with suppress(subprocess.CalledProcessError):
                _ip("netns", "del", name)
        _ip("link", "del", f"{self._name}b")


class Host:
    """One of them. Its wire and its disk outlive it: start it again, and it is the same host after a power cut.

    Parameters
    ----------
    folders : Path
        Where every host has a folder of its name.

    Attributes
    ----------
    folder : Path
        Its disk.
    address : str
        Its address.
    """

    def __init__(self, network: Network, name: str, folders: Path) -> None:
        self.name = name
        self.folder = folders / name
        self.folder.mkdir(parents=True)
        self._folders = folders
        self._network = network
        self._namespace, self._wire, self.address = network.join()
        self._init: subprocess.Popen[bytes] | None = None
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._logs: dict[str, IO[bytes]] = {}

    def start(self) -> None:
        """Its first process; raises RuntimeError when there is none within 10 s."""
        log = self.folder / "init.log"
        log.unlink(missing_ok=True)
        argv = ["ip", "netns", "exec", self._namespace]
        argv += ["unshare", "--uts", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc"]
        argv += ["sh", "-c", _INIT, "init", self.name, str(self._folders)]
        with log.open("wb") as output:
            self._init = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_us,  # noqa: PLW1509 - one call into the C library, no lock
            )
        deadline = time.monotonic() + _READY_WITHIN_S
        while log.read_bytes() != b"ready\n":
            if time.monotonic() > deadline or self._init.poll() is not None:
                raise RuntimeError(f"{self.name} does not start: {log.read_text('utf-8', 'replace')}")
            time.sleep(0.01)

    @property
    def prefix(self) -> tuple[str, ...]:
        """Runs a command on it."""
        pid = _child_of(self._init)
        return ("nsenter", "--target", str(pid), "--pid", "--mount", "--uts", "--net", "--")

    def run(self, label: str, argv: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """Begin a process on it, and write down what it says."""
        log = self._logs.get(label)
        if log is None:
            log = self._logs[label] = (self.folder / f"{label}.log").open("ab")
        self._running[label] = process.start([*self.prefix, *argv], output=log, environment=environment)

    def ask(self, *argv: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command on it, to its end."""
        return subprocess.run(
            [*self.prefix, *argv], capture_output=True, text=True, timeout=timeout_s, check=False
        )

    def log(self, label: str) -> str:
        """What a process of it said so far."""
        path = self.folder / f"{label}.log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def pid(self, label: str) -> int:
        """A process of it, by this machine's number."""
        return _child_of(self._running[label])

    def is_running(self, label: str) -> bool:
        """Whether that process is."""
        return label in self._running and self._running[label].poll() is None

    def labels(self) -> list[str]:
        """Its processes, in the order in which they were begun."""
        return [label for label in self._running if self.is_running(label)]

    def terminate(self, label: str, *, within_s: float) -> float:
        """SIGTERM, and how many seconds it took to end; inf when it was killed after `within_s`."""
        running, began = self._running[label], time.monotonic()
        with suppress(ProcessLookupError):
            os.kill(_child_of(running), signal.SIGTERM)
        try:
            running.wait(within_s)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.kill(_child_of(running), signal.SIGKILL)
            running.wait()
            return float("inf")
        return time.monotonic() - began

    def kill(self) -> None:
        """The power is gone: no process of it lives when this returns."""
        if self._init is None:
            return
        with suppress(ProcessLookupError, RuntimeError):
            os.kill(_child_of(self._init), signal.SIGKILL)
        for running in (*self._running.values(), self._init):
            try:
                running.wait(_GONE_WITHIN_S)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()
        self._running.clear()
        self._init = None

    def cut(self) -> None:
        """From now on nothing passes, and nobody is told."""
        _ip("link", "set", self._wire, "nomaster")

    def mend(self) -> None:
        """It passes again."""
        self._network.attach(self._wire)

    def slow(self, kbit_per_s: int) -> None:
        """So much and no more, either way. The kernels of many machines have no netem: this is a token bucket (tc-tbf(8))."""
        words = ("root", "tbf", "rate", f"{kbit_per_s}kbit", "burst", "32kbit", "latency", "300ms")
        subprocess.run(["tc", "qdisc", "replace", "dev", self._wire, *words], check=True, capture_output=True)
        inside = ["ip", "netns", "exec", self._namespace, "tc", "qdisc", "replace", "dev", "eth0", *words]
        subprocess.run(inside, check=True, capture_output=True)

    def quick(self) -> None:
        """As fast as before."""
        subprocess.run(["tc", "qdisc", "del", "dev", self._wire, "root"], check=True, capture_output=True)
        inside = ["ip", "netns", "exec", self._namespace, "tc", "qdisc", "del", "dev", "eth0", "root"]
        subprocess.run(inside, check=True, capture_output=True)

    def close(self) -> None:
        """Whatever runs on it ends."""
        self.kill()
        for log in self._logs.values():
            log.close()


def _child_of(parent: subprocess.Popen[bytes] | None) -> int:
    """The process that unshare or nsenter has started.

    Raises
    ------
    RuntimeError
        It has started none, or is over.
    """
    deadline = time.monotonic() + 2
    while parent is not None and parent.poll() is None and time.monotonic() < deadline:
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
        with suppress(OSError):
            if words := children.read_text("ascii").split():
                return int(words[0])
        time.sleep(0.005)
    raise RuntimeError("no such process on that host")


def _end_with_us() -> None:
    """unshare(1) ignores SIGTERM while it waits; killed, it takes its child along."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def _clear_away_what_the_dead_left() -> None:
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=False).stdout
    for name in (line.split(" ")[0] for line in listed.splitlines()):
        maker = name.removeprefix(_PREFIX).partition("n")[0]
        if name.startswith(_PREFIX) and maker.isdigit() and not Path(f"/proc/{maker}").exists():
            for words in (("netns", "del", name), ("link", "del", f"{_PREFIX}{maker}b")):
                subprocess.run(["ip", *words], capture_output=True, check=False)
