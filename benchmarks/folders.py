"""Folders for the files of a run.

No file is deleted before the run is over. For some minutes ext4 passes over the inode of a deleted file when it looks for one,
and over each of them anew for every file that is made: what one contestant left would make the next one's files ten times
as dear. So files are emptied, which gives their room back, and deleted at the end.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import perf_counter

_NUMBERS = itertools.count()
_FILES = 200


@contextmanager
def folder_in(directory: Path) -> Iterator[Path]:
    """A folder that is removed with all that is in it: one a run and place."""
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory, prefix="dicomrelay-bench-") as name:
        yield Path(name)


@contextmanager
def emptied(parent: Path) -> Iterator[Path]:
    """A new folder, whose files are emptied at the end."""
    path = parent / f"{next(_NUMBERS):05d}"
    path.mkdir()
    try:
        yield path
    finally:
        empty(path)


def empty(path: Path) -> None:
    """Empty every file in a folder and its folders; they stay."""
    for place, _, names in os.walk(path):
        for name in names:
            with suppress(OSError):  # what is no regular file takes no room
                os.truncate(Path(place, name), 0)


def microseconds_to_make_a_file(parent: Path) -> float:
    """What a file of 9 kB costs there now without a flush: a disk that many files were just deleted on is slow at it."""
    content = bytes(9000)
    with emptied(parent) as folder:
        began = perf_counter()
        for number in range(_FILES):
            (folder / str(number)).write_bytes(content)
        return (perf_counter() - began) / _FILES * 1e6
