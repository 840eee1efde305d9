"""`dicomrelay archive …` as it is run: the entry point itself, in this process or in one of its own."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pydicom
import pytest

from dicomrelay.cli.main import main
from tests.support.archive import is_storable, pydicom_file
from tests.support.processes import environment


@dataclass(frozen=True)
class Told:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it said to machines."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        """What it said on standard output."""
        return self.out.splitlines()


@dataclass
class ArchiveCommand:
    """Runs `dicomrelay archive`, with a home of its own, and remembers nothing."""

    home: Path
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *words: str | Path) -> Told:
        """Run it; anything but a `SystemExit` is a fault."""
        return self.run("archive", *words)

    def run(self, *words: str | Path) -> Told:
        """Any other command of `dicomrelay`."""
        argv = ["dicomrelay", *map(str, words), "--home", str(self.home)]
        self.capsys.readouterr()
        with self.monkeypatch.context() as patch:
            patch.setattr("sys.argv", argv)
            with pytest.raises(SystemExit) as ended:
                main()
        said = self.capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Told(ended.value.code, said.out, said.err)

    def good(self, *words: str | Path) -> Told:
        """The same, and it must go well."""
        told = self(*words)
        assert told.code == 0, told.err
        return told

    def alone(self, *words: str | Path, **variables: str) -> Told:
        """In a process of its own."""
        return run_alone(self.home, *words, **variables)

    def in_terminal(self, columns: int, *words: str | Path, types: str = "") -> Told:
        """In a terminal of so many columns; what it says on both outputs is `out`, without colours."""
        with _terminal(columns) as (ours, theirs):
            process = subprocess.Popen(
                [*_PROGRAM, *map(str, words), "--home", str(self.home)],
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                env=environment({"TERM": "dumb", "NO_COLOR": "1"}),
            )
            os.close(theirs)
            if types:
                os.write(ours, types.encode())
            said = b"".join(_chunks(ours))
            code = process.wait(60)
        return Told(code, click.unstyle(said.decode()).replace("\r\n", "\n"), "")


_PROGRAM = (sys.executable, "-m", "dicomrelay", "archive")


def run_alone(home: Path, *words: str | Path, **variables: str) -> Told:
    """`dicomrelay archive` in a process of its own."""
    done = subprocess.run(
        [*_PROGRAM, *map(str, words), "--home", str(home)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=environment(variables),
    )
    return Told(done.returncode, done.stdout, done.stderr)


@contextmanager
def _terminal(columns: int) -> Iterator[tuple[int, int]]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    try:
        yield ours, theirs
    finally:
        os.close(ours)


def _chunks(descriptor: int) -> Iterator[bytes]:
    while True:
        try:
            chunk = os.read(descriptor, 65_536)
        except OSError:  # how a terminal says that nobody writes to it any more
            return
        if not chunk:
            return
        yield chunk


def sample_folder() -> Path:
    """Real studies of three patients that come with pydicom: CR, CT and MR, and DICOMDIRs that are no instances."""
    return pydicom_file("dicomdirtests")


def sample_files(*names: str) -> Sequence[Path]:
    """Real files that come with pydicom."""
    return [pydicom_file(name) for name in names]


def header_values(folder: Path) -> list[dict[str, str]]:
    """What pydicom reads of every instance under a folder: the reference for what the archive answers."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and is_storable(path):
            data_set = pydicom.dcmread(path, stop_before_pixels=True)
            if "SOPInstanceUID" in data_set:
                found.append(
                    {name: str(data_set.get(name, "") or "") for name in _KEYWORDS} | {"path": str(path)}
                )
    return found


_KEYWORDS = (
    "PatientName", "PatientID", "StudyInstanceUID", "StudyDate", "StudyDescription", "AccessionNumber",
    "SeriesInstanceUID", "Modality", "SeriesDescription", "SOPInstanceUID", "SOPClassUID",
)  # fmt: skip


def changed(folder: Path, name: str = "CT_small.dcm") -> Path:
    """The same SOP Instance UID as a sample file, with other bytes."""
    data_set = pydicom.dcmread(pydicom_file(name))
    data_set.ImageComments = "other bytes"
    pydicom.dcmwrite(folder / f"changed-{name}", data_set)
    return folder / f"changed-{name}"
