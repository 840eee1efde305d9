"""Indexes written, read and compared: memory does not grow with the number of instances."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from archive import Archive
from archive.differing import diff
from archive.json_index import write_index
from archive.json_index_reader import read_index
from archive.values import Selection
from benchmarks.archive_index import fill

FEW, MANY = 4_000, 16_000
# A page of 1000 is under 2 MiB; 12,000 instances more would be 10 MiB and more if they were held.
_ALLOWED_BYTES = 2 * 1024 * 1024


def peak_of(work: Callable[[], int], expected: int) -> int:
    """The most bytes that Python held at once during some work, above what it held before."""
    work()  # imports and caches
    tracemalloc.start()
    try:
        assert work() == expected
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.long
def test_memory_is_that_of_a_page(tmp_path: Path) -> None:
    """Four times as many instances cost the same."""
    peaks: dict[str, list[int]] = {}
    for count in (FEW, MANY):
        root, path = tmp_path / str(count), tmp_path / f"{count}.json"
        Archive.open(root).close()
        fill(f"sqlite:///{root / 'index.sqlite'}", count)
        archive, same = Archive.open(root), Archive.open(root)

        def read(path: Path = path) -> int:
            with read_index(path) as index:
                return sum(1 for _ in index)

        def write(archive: Archive = archive, path: Path = path) -> int:
            return write_index(archive, path, overwrite=True)

        def compare(archive: Archive = archive, same: Archive = same) -> int:
            # One side whole, in the order of its index; the other by a selection, through scratch.
            everything = Selection(matches={"StudyDate": "20060101-20261231"})
            return sum(1 for _ in diff(archive, same)) + sum(1 for _ in diff(archive, same, everything))

        for name, work, expected in (("write", write, count), ("read", read, count), ("diff", compare, 0)):
            peaks.setdefault(name, []).append(peak_of(work, expected))
        archive.close()
        same.close()
    for name, (few, many) in peaks.items():
        assert many - few < _ALLOWED_BYTES, f"{name}: {few} bytes for {FEW}, {many} for {MANY}"
