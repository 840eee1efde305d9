"""docs/howto/first-study.md, followed to the letter in a fresh folder; only the ports are others."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pydicom
import pytest

from tests.support.markdown import ROOT, blocks

PAGE = ROOT / "docs" / "howto" / "first-study.md"
STARTS_IN_THE_BACKGROUND = ("python -m pynetdicom storescp", "dicomrelay up")
DONE_BY_MAKE = ("make setup", ". .venv/bin/activate")


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class Reader:
    """Someone who reads the page and types what it says, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ports = {port: str(free_port()) for port in ("11112", "11113", "8080", "5555")}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("DICOMRELAY_")}
        self._environment = {
            **inherited,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "DICOMRELAY_GATEWAY__PORT": self._ports["11112"],
            "DICOMRELAY_STREAMER__PORT": self._ports["8080"],
            "DICOMRELAY_MONITOR__PORT": self._ports["5555"],
        }
        text = "".join(block.text for block in blocks(PAGE) if block.language == "toml")
        (folder / "relay.toml").write_text(self.local(text))

    def local(self, text: str) -> str:
        """The text with our ports in place of the page's."""
        for theirs, ours in self._ports.items():
            text = text.replace(theirs, ours)
        return text

    def lines(self) -> list[str]:
        """What the page says to type, in order."""
        console = "".join(block.text for block in blocks(PAGE) if block.language == "console")
        return [self.local(line[2:]) for line in console.splitlines() if line.startswith("$ ")]

    def type(self, lines: list[str]) -> str:
        """Type lines into one shell; its standard output."""
        done = subprocess.run(
            ["bash", "-e", "-u", "-o", "pipefail", "-c", "\n".join(lines)],
            cwd=self.folder, env=self._environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{lines}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    @contextmanager
    def in_a_terminal_of_its_own(self, line: str) -> Iterator[subprocess.Popen[bytes]]:
        """Leave a line running; Ctrl-C at the end."""
        log = (self.folder / f"{line.split(maxsplit=1)[0]}.out").open("wb")
        process = subprocess.Popen(
            ["bash", "-c", f"exec {line}"], cwd=self.folder, env=self._environment, stdout=log, stderr=log
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            log.close()

    def listens(self, port: str) -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", int(self._ports[port]))) == 0


def until(condition: object, seconds: float, what: str) -> None:
    """Wait for a condition; fail in words."""
    assert callable(condition)
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"{what} not within {seconds:g} s"
        pause.wait(0.1)


@pytest.mark.slow
def test_whoever_follows_the_page_has_a_study_at_the_destination(tmp_path: Path) -> None:
    """Every line works as it stands; the destination has both instances once, and the streamer both studies."""
    reader = Reader(tmp_path)
    lines = [line for line in reader.lines() if line not in DONE_BY_MAKE]
    receiver, relay = (
        next(line for line in lines if line.startswith(start)) for start in STARTS_IN_THE_BACKGROUND
    )
    before, after = lines[: lines.index(relay)], lines[lines.index(relay) + 1 :]
    curl = next(line for line in after if line.startswith("curl "))

    (tmp_path / "received").mkdir()
    with reader.in_a_terminal_of_its_own(receiver):
        until(lambda: reader.listens("11113"), 20, "the receiver listens")
        reader.type([line for line in before if line != receiver])
        with reader.in_a_terminal_of_its_own(relay) as up:
            until((tmp_path / "var" / "run" / "ready").exists, 90, "all is up")
            reader.type([line for line in after if line != curl])
            with urllib.request.urlopen(curl.split()[-1]) as response:
                studies = json.load(response)
        assert up.returncode == 0

    files = [pydicom.dcmread(path) for path in (tmp_path / "received").iterdir()]
    assert sorted(file.Modality for file in files) == ["CT", "MR"]
    assert {file.StudyInstanceUID for file in files} == {study["0020000D"]["Value"][0] for study in studies}
