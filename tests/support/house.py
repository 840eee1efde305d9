"""A whole `dicomrelay up` on free ports in a home of its own, and DCMTK peers around it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dicomrelay.runtime.ports import free_ports
from dicomrelay.settings import Settings, load


def require(program: str) -> str:
    """The path of a program; where it is missing the test skips, and fails in CI."""
    found = shutil.which(program)
    if not found:
        if os.environ.get("CI"):
            pytest.fail(f"{program} is not installed")
        pytest.skip(f"{program} is not installed")
    return found


def wait_for(condition: Callable[[], bool], *, timeout_s: float, what: str) -> None:
    """Look until it is so; fail with `what` when it is not in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {timeout_s:g} s: {what}")
        time.sleep(0.05)


@dataclass
class Storescp:
    """DCMTK's storescp that writes what it reads, bit for bit."""

    ae_title: str
    port: int
    folder: Path
    options: Sequence[str] = ()
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        """Listen."""
        self.folder.mkdir(parents=True, exist_ok=True)
        argv = [require("storescp"), "+xa", "-pm", "+B", "-od", str(self.folder), "-aet", self.ae_title]
        with (self.folder.parent / f"{self.ae_title}.log").open("ab") as log:
            self._process = subprocess.Popen([*argv, *self.options, str(self.port)], stdout=log, stderr=log)
        wait_for(self._listens, timeout_s=10, what=f"storescp listens on {self.port}")

    def stop(self) -> None:
        """Stop listening."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def files(self) -> list[Path]:
        """What came, complete or not."""
        return [path for path in self.folder.iterdir() if path.is_file()]

    def toml(self, name: str, more: str = "") -> str:
        """Its table in relay.toml."""
        return (
            f'[[destinations]]\nname = "{name}"\nae_title = "{self.ae_title}"\n'
            f'host = "127.0.0.1"\nport = {self.port}\n{more}\n'
        )

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True


@contextmanager
def storescp(ae_title: str, folder: Path, *options: str, port: int = 0) -> Iterator[Storescp]:
    """A storescp that runs."""
    server = Storescp(ae_title, port or free_ports(1)[0], folder, options)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@dataclass
class House:
    """A home with its settings, and what runs on it."""

    home: Path
    config: Path
    settings: Settings
    process: subprocess.Popen[str] | None = None

    def start(self, *, timeout_s: float = 60) -> None:
        """`dicomrelay up`, until it is ready."""
        (self.home / "run" / "ready").unlink(missing_ok=True)  # of one that was killed
        with (self.home / "up.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "dicomrelay", "up", "--home", str(self.home)],
                stdout=log,
                stderr=log,
                text=True,
            )
        wait_for(self._is_ready, timeout_s=timeout_s, what=f"up is ready; it said {self.output()}")

    def stop(self) -> int:
        """SIGTERM, and its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(90)

    def run(
        self, *arguments: str, timeout_s: float = 120, home: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """A command of ours on this home."""
        where = ["--home", str(self.home)] if home else []
        return subprocess.run(
            [sys.executable, "-m", "dicomrelay", *arguments, *where],
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )

    def output(self) -> str:
        """What `up` said so far."""
        log = self.home / "up.log"
        return log.read_text("utf-8") if log.exists() else "nothing"

    def _is_ready(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            pytest.fail(f"up ended with {self.process.returncode}: {self.output()}")
        return (self.home / "run" / "ready").exists()


@contextmanager
def a_home(toml: str = "", *, quiet_seconds: float = 1.0, whole: bool = False) -> Iterator[House]:
    """A home on free ports, nothing running; whatever runs at the end is stopped.

    Without Flower and with one process that forwards, unless it is to be `whole`: each of the two is seconds of CPU.
    """
    gateway, streamer, monitor = free_ports(3)
    no_flower, one_forward = ("", "") if whole else ("enabled = false\n", "forward_processes = 1\n")
    with tempfile.TemporaryDirectory(prefix="relay-") as folder:
        home = Path(folder)
        config = home / "relay.toml"
        config.write_text(
            f"[gateway]\nport = {gateway}\nmin_free_bytes = 0\n[study]\nquiet_seconds = {quiet_seconds}\n"
            f"[streamer]\nport = {streamer}\n[monitor]\nport = {monitor}\n{no_flower}"
            f"[worker]\nsweep_seconds = 0.5\n{one_forward}{toml}",
            "utf-8",
        )
        house = House(home, config, load(config=config, home=home))
        try:
            yield house
        finally:
            if house.process and house.process.poll() is None:
                house.process.terminate()
                try:
                    house.process.wait(60)
                except subprocess.TimeoutExpired:
                    house.process.kill()
                    house.process.wait()
