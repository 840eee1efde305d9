"""How many files a second does `dicomrelay send` look at, on one core?"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.data_sets import write
from benchmarks.figures import Bar, Measured, Place, Row, Section
from benchmarks.folders import emptied
from benchmarks.run import Run
from benchmarks.senders import run as run_program

TITLE = "Header scan of small files"
NAME = "dicomrelay send looks at each file"
_AT_LEAST = 10_000
_PER_FOLDER = 1000


def measure(run: Run) -> Iterator[Section]:
    """One section: files that the system has read before, in folders of a thousand, by one process."""
    with emptied(run.disk) as folder:
        _write_files(run, folder)
        command = [sys.executable, "-m", "benchmarks.scan_headers", str(folder / "files"), str(run.headers)]
        rates = [run.headers / json.loads(run_program(command)) for _ in range(run.warm_up + run.rounds)]
    row = Row(NAME, tuple(rates[run.warm_up :]), unit="headers/s")
    bar = Bar(
        "files looked at by one process",
        (Measured(NAME, row.median),),
        at_least=_AT_LEAST * run.ease,
        unit="headers/s",
    )
    yield Section("headers", TITLE, f"{run.headers:,} files", Place.DISK, (row,), bars=(bar,))


def _write_files(run: Run, folder: Path) -> None:
    """Copies of one small instance, each with a SOP Instance UID of its own."""
    write(run.load("small", instances=1), folder / "source")
    (template,) = (folder / "source").iterdir()
    content = template.read_bytes()
    uid = _uid_of(content)
    for number in range(run.headers):
        place = folder / "files" / f"{number // _PER_FOLDER:04d}"
        if number % _PER_FOLDER == 0:
            place.mkdir(parents=True)
        own = uid[:-7] + f"{number:07d}".encode("ascii")
        (place / f"{number:07d}.dcm").write_bytes(content.replace(uid, own))
    os.sync()


def _uid_of(content: bytes) -> bytes:
    """The SOP Instance UID, which stands in the meta and in the data set, as (0002,0003) has it."""
    at = content.index(b"\2\0\3\0UI")
    length = int.from_bytes(content[at + 6 : at + 8], "little")
    return content[at + 8 : at + 8 + length].rstrip(b"\0")
