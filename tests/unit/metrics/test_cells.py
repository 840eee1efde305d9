"""The file of a process: what is written is read, whatever ends the process, and whoever reads meanwhile."""

from __future__ import annotations

import errno
import os
import signal
import struct
from pathlib import Path

import pytest

from dicomrelay.metrics import cells
from dicomrelay.metrics.cells import CellFile, DamagedCells


def test_what_is_written_is_read_at_once(tmp_path: Path) -> None:
    """A reader sees a figure without the writer doing anything for it."""
    file = CellFile(tmp_path, "gateway")
    first = file.place(("a_total", "CT ä"), 1)
    second = file.place(("b_seconds",), 3)
    assert first is not None
    assert second is not None

    file.add(first, 2)
    file.add(first, 0.5)
    file.set(second + 2, 7)

    assert list(cells.read(file.path)) == [(("a_total", "CT ä"), (2.5,)), (("b_seconds",), (0, 0, 7))]
    file.close()


def test_a_full_file_takes_no_more_series_and_keeps_what_it_has(tmp_path: Path) -> None:
    """Its size is a bound."""
    file = CellFile(tmp_path, "gateway")
    places = []
    while (place := file.place((f"family_{len(places)}", "x" * 1000), 16)) is not None:
        places.append(place)

    file.add(places[-1] + 15, 1)

    found = list(cells.read(file.path))
    assert len(found) == len(places) > 500
    assert found[-1][1][-1] == 1
    file.close()


def test_a_full_disk_takes_no_more_series_and_ends_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first write to a hole of a mapped file that the disk cannot fill is SIGBUS: so blocks are had before."""
    file = CellFile(tmp_path, "gateway")
    places = []

    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    while (place := file.place((f"family_{len(places)}", "x" * 1000), 16)) is not None:
        places.append(place)

    assert len(places) > 1
    assert (places[-1] + 16) * 8 <= file.path.stat().st_blocks * 512 < file.path.stat().st_size
    file.add(places[-1] + 15, 1)
    assert len(list(cells.read(file.path))) == len(places)
    with pytest.raises(OSError, match="No space"):
        CellFile(tmp_path, "worker")
    assert [each.name for each in tmp_path.iterdir()] == [file.path.name]
    file.close()


def test_the_living_and_the_dead_are_told_apart(tmp_path: Path) -> None:
    """By the lock, which the kernel frees when the process is killed; what it counted is still there."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        file = CellFile(tmp_path, "worker")
        place = file.place(("a_total",), 1)
        assert place is not None
        file.add(place, 41)
        os.write(write_end, b"1")
        signal.pause()
    os.read(read_end, 1)
    (path,) = tmp_path.glob("*.cells")
    lives = not cells.is_of_the_dead(path)

    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)

    assert lives
    assert cells.is_of_the_dead(path)
    assert list(cells.read(path)) == [(("a_total",), (41,))]
    os.close(read_end)
    os.close(write_end)


@pytest.mark.parametrize(
    "content",
    [
        b"something else entirely",
        b"DRCELLS1" + struct.pack("=Q", 64),
        b"DRCELLS1" + struct.pack("=QII", 40, 1000, 1) + bytes(16),
        b"DRCELLS1" + struct.pack("=QII", 40, 2, 1) + b"{}" + bytes(14),
        b"DRCELLS1" + struct.pack("=QII", 32, 2, 4_000_000_000) + b"[]" + bytes(6),
    ],
)
def test_a_damaged_file_is_said_to_be_one(tmp_path: Path, content: bytes) -> None:
    """And nothing else is raised, however it is damaged."""
    path = tmp_path / "x.1.aa.cells"
    path.write_bytes(content)

    with pytest.raises(DamagedCells):
        list(cells.read(path))


def test_a_file_that_was_begun_a_moment_ago_is_empty(tmp_path: Path) -> None:
    """Between its being made and its head."""
    path = tmp_path / "x.1.aa.cells"
    path.write_bytes(b"")
    assert list(cells.read(path)) == []
    assert not cells.is_of_the_dead(path)
    path.write_bytes(bytes(1 << 20))
    assert list(cells.read(path)) == []
