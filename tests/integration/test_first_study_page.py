"""docs/howto/first-study.md, followed to the letter in a fresh folder; only the ports are others."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from contextlib import AbstractContextManager
from pathlib import Path

import pydicom
import pytest

from tests.support.markdown import ROOT, blocks
from tests.support.processes import environment, free_port, listens, running, until

PAGE = ROOT / "docs" / "howto" / "first-study.md"
STARTS_IN_THE_BACKGROUND = ("python -m pynetdicom storescp", "dicomrelay up")
DONE_BY_MAKE = ("make setup", ". .venv/bin/activate")


class Reader:
    """Someone who reads the page and types what it says, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ports = {port: str(free_port()) for port in ("11112", "11113", "8080", "5555")}
        self._environment = environment(
            {
                "DICOMRELAY_GATEWAY__PORT": self._ports["11112"],
                "DICOMRELAY_STREAMER__PORT": self._ports["8080"],
                "DICOMRELAY_MONITOR__PORT": self._ports["5555"],
            }
        )
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

    def leave_running(self, line: str) -> AbstractContextManager[subprocess.Popen[bytes]]:
        """Type a line into a terminal of its own; Ctrl-C at the end of the block."""
        log = self.folder / f"{line.split(maxsplit=1)[0]}.out"
        return running(
            ["bash", "-c", f"exec {line}"], folder=self.folder, variables=self._environment, log=log
        )

    def listens(self, port: str) -> bool:
        """Whether somebody listens on what stands for a port of the page."""
        return listens(self._ports[port])


@pytest.mark.slow
@pytest.mark.long
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
    with reader.leave_running(receiver):
        until(lambda: reader.listens("11113"), seconds=20, what="the receiver listens")
        reader.type([line for line in before if line != receiver])
        with reader.leave_running(relay) as up:
            until((tmp_path / "var" / "run" / "ready").exists, seconds=90, what="all is up")
            reader.type([line for line in after if line != curl])
            with urllib.request.urlopen(curl.split()[-1]) as response:
                studies = json.load(response)
        assert up.returncode == 0

    files = [pydicom.dcmread(path) for path in (tmp_path / "received").iterdir()]
    assert sorted(file.Modality for file in files) == ["CT", "MR"]
    assert {file.StudyInstanceUID for file in files} == {study["0020000D"]["Value"][0] for study in studies}
