"""Programs that run beside a test: start them, wait for them, stop them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from dicomrelay.runtime.ports import free_ports

BIN = Path(sys.executable).parent


def free_port() -> int:
    """A port that nobody listens on."""
    return free_ports(1)[0]


def listens(port: int | str) -> bool:
    """Whether somebody accepts on that port of loopback."""
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", int(port))) == 0


def open_to_others(folder: Path) -> list[str]:
    """What in a folder another user could read, were the folder not closed; the folder too."""
    return [
        f"{path}: {path.lstat().st_mode & 0o777:03o}"
        for path in (folder, *folder.rglob("*"))
        if path.lstat().st_mode & 0o077 and not path.is_symlink()
    ]


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Ours, with the programs of this environment first, and no settings but these."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("DICOMRELAY_")}
    return {**inherited, "PATH": f"{BIN}:{os.environ['PATH']}", **settings}


def until(holds: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Wait until something holds; fail in words."""
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while not holds():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        pause.wait(0.1)


@contextmanager
def running(
    command: Sequence[str | Path], *, folder: Path, variables: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A program that runs until the end of the block, and is then interrupted as by Ctrl-C."""
    with log.open("ab") as output:
        process = subprocess.Popen(list(command), cwd=folder, env=variables, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
