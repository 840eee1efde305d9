"""How many small files a second does `dicomrelay archive import` take into an archive, flushed and in the index?"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

from benchmarks.data_sets import write
from benchmarks.figures import Bar, Measured, Place, Row, Section
from benchmarks.folders import emptied
from benchmarks.peers import RunFailed
from benchmarks.run import Run
from benchmarks.senders import run as run_program

TITLE = "Import of small files"
NAME = "dicomrelay archive import"
_AT_LEAST = 2000
_INSTANCES = 20_000


def measure(run: Run) -> Iterator[Section]:
    """One section, on disk: the command from its start to its end, into a new archive each round."""
    load = run.load("small", instances=_INSTANCES)
    with emptied(run.disk) as folder:
        write(load, folder / "files")
        rates = [
            load.instances / _imported(folder, folder / f"archive-{number}", load.instances)
            for number in range(run.warm_up + run.rounds)
        ]
    row = Row(NAME, tuple(rates[run.warm_up :]), unit="files/s")
    bar = Bar(
        "small files imported",
        (Measured(NAME, row.median),),
        at_least=_AT_LEAST * run.ease,
        unit="files/s",
    )
    note = "by as many processes as there are cores; the start of the command counts, and so does every flush"
    yield Section(
        "import", TITLE, f"{load.instances:,} files", Place.DISK, (row,), bars=(bar,), notes=(note,)
    )


def _imported(folder: Path, archive: Path, count: int) -> float:
    """Seconds, once it is seen that all are in.

    Raises
    ------
    RunFailed
        Not all of them are.
    """
    program = [sys.executable, "-m", "dicomrelay", "archive"]
    run_program([*program, "init", "--path", str(archive)])
    began = perf_counter()
    told = json.loads(
        run_program([*program, "import", str(folder / "files"), "--archive", str(archive), "--json"])
    )
    seconds = perf_counter() - began
    if told["stored"] != count:
        raise RunFailed(f"{told['stored']} of {count} files were imported")
    return seconds
