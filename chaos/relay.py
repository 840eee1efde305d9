"""A relay to be broken: `dicomrelay up` in a home of its own, and its processes, found in /proc by that home."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dicomrelay.net.requestor import RemoteAe
from dicomrelay.runtime.home import broker_socket
from dicomrelay.runtime.ports import free_ports
from dicomrelay.runtime.process import start
from dicomrelay.settings import load

# A machine that others keep busy starts it slowly: that is none of the faults.
_READY_WITHIN_S: Final = 240.0
_STOPPED_WITHIN_S: Final = 90.0
POOL: Final = "pool"


@dataclass(frozen=True, slots=True)
class Process:
    """One of the relay.

    Attributes
    ----------
    role : str
        "up", "gateway", "worker-intake", "worker-keep", "worker-forward…", "scheduler", "streamer", "monitor", "broker", "pool"
        for children of a worker, or "child" for those of another service.
    """

    pid: int
    parent: int
    role: str


def processes_of(home: Path) -> list[Process]:
    """All that have the home in their command lines, but `scorecard` and the like."""
    found: dict[int, Process] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().decode("utf-8", "replace").rstrip("\0").split("\0")
            stat = (entry / "stat").read_text("utf-8", "replace")
        except OSError:  # ended meanwhile
            continue
        state, parent = stat.rpartition(")")[2].split()[:2]
        role = _role(words) if str(home) in " ".join(words) and state != "Z" else ""
        if role:
            found[int(entry.name)] = Process(int(entry.name), int(parent), role)
    return [_told_from_its_parent(each, found) for each in found.values()]


def _role(words: Sequence[str]) -> str:
    if "dicomrelay" in words[:-1]:
        name = words[words.index("dicomrelay") + 1]
        if name == "worker" and "--name" in words:
            name = f"worker-{words[words.index('--name') + 1]}"
        return name
    return "broker" if "valkey" in words[0] or "redis" in words[0] else ""


def _told_from_its_parent(process: Process, all_of_them: Mapping[int, Process]) -> Process:
    """A child that was forked has its parent's command line."""
    parent = all_of_them.get(process.parent)
    if parent is None or parent.role != process.role:
        return process
    return Process(process.pid, process.parent, POOL if process.role.startswith("worker") else "child")


class Relay:
    """`dicomrelay up`.

    Parameters
    ----------
    home : Path
        Made when it is not there.
    toml : str
        Tables beside those that are written here.
    log : Path
        What `up` says goes there: outside the home, which may be on a disk that goes away.
    gateway : str
        Further keys of [gateway].
    monitor : bool
        Whether Flower runs too.
    """

    def __init__(
        self, home: Path, toml: str = "", *, log: Path, gateway: str = "", monitor: bool = False
    ) -> None:
        self.home = home.absolute()
        self.home.mkdir(parents=True, exist_ok=True)
        port, streamer, flower = free_ports(3)
        (home / "relay.toml").write_text(
            f"[gateway]\nport = {port}\nmin_free_bytes = 0\n{gateway}\n[study]\nquiet_seconds = 0.5\n"
            f"[streamer]\nport = {streamer}\n[monitor]\nport = {flower}\nenabled = {str(monitor).lower()}\n"
            f"[worker]\nsweep_seconds = 0.5\n{toml}",
            "utf-8",
        )
        self.settings = load(home=self.home)
        self.remote = RemoteAe("DICOMRELAY", "127.0.0.1", port)
        self._log_path = log
        self._log = log.open("ab")
        self._up: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """What `up` said so far."""
        return self._log_path.read_text("utf-8", "replace")

    @property
    def broker_socket(self) -> Path:
        """Where the embedded broker listens."""
        return broker_socket(self.settings)

    @property
    def is_ready(self) -> bool:
        """Whether every service is."""
        return (self.home / "run" / "ready").exists()

    def start(self, *, wait: bool = True) -> None:
        """Start, and wait until every service is ready."""
        (self.home / "run" / "ready").unlink(missing_ok=True)  # of one that was killed
        self._up = start(
            [sys.executable, "-m", "dicomrelay", "up", "--home", str(self.home)], output=self._log
        )
        if wait:
            self.await_ready()

    def await_ready(self) -> None:
        """Wait until every service is ready."""
        self.wait_for(lambda: self.is_ready, within_s=_READY_WITHIN_S, what="every service is ready")

    def stop(self) -> int:
        """SIGTERM to `up`, and its exit code; SIGKILL to what does not listen."""
        code = 0
        if self._up is not None:
            self._up.terminate()
            try:
                code = self._up.wait(_STOPPED_WITHIN_S)
            except subprocess.TimeoutExpired:
                code = -signal.SIGKILL
        self.kill_everything()
        return code

    def kill_everything(self) -> None:
        """SIGKILL to every process of the home, `up` first: as if the power were gone."""
        deadline = time.monotonic() + 20
        while left := processes_of(self.home):
            for process in sorted(left, key=lambda each: each.role != "up"):
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGCONT)
                    os.kill(process.pid, signal.SIGKILL)
            if self._up is not None:
                with suppress(subprocess.TimeoutExpired):
                    self._up.wait(0.05)
            if time.monotonic() > deadline:
                raise RuntimeError(f"they do not die: {left}")
        if self._up is not None:
            self._up.wait()
        self._up = None

    def close(self) -> None:
        """Whatever runs ends."""
        self.kill_everything()
        self._log.close()

    def pids(self, role: str) -> list[int]:
        """Processes whose role begins so."""
        return [each.pid for each in processes_of(self.home) if each.role.startswith(role)]

    def signal(self, role: str, number: signal.Signals, *, pick: Callable[[list[int]], int] = min) -> int:
        """Send a signal to one process of that role, as soon as there is one; its id."""
        self.wait_for(lambda: bool(self.pids(role)), within_s=60, what=f"a {role} runs")
        pid = pick(self.pids(role))
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        return pid

    def status(self) -> dict[str, Any]:
        """`dicomrelay status --json`."""
        ended = self.command("status", "--json", "--studies", "1")
        found: dict[str, Any] = json.loads(ended.stdout)
        return found

    def command(self, *arguments: str, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        """A command of ours on this home."""
        argv = [sys.executable, "-m", "dicomrelay", *arguments, "--home", str(self.home)]
        return subprocess.run(argv, capture_output=True, text=True, timeout=timeout_s, check=False)

    def wait_for(self, condition: Callable[[], bool], *, within_s: float, what: str) -> float:
        """Look until it is so; how long it took, in seconds.

        Raises
        ------
        TimeoutError
            It is not so in time, or `up` has ended.
        """
        began = time.monotonic()
        while not condition():
            if time.monotonic() - began > within_s:
                raise TimeoutError(f"not within {within_s:g} s: {what}; up said: {self.log[-2000:]}")
            if self._up is not None and self._up.poll() is not None:
                raise TimeoutError(
                    f"up has ended with {self._up.returncode}, waiting for: {what}; {self.log[-2000:]}"
                )
            time.sleep(0.03)
        return time.monotonic() - began
