"""Operations on files that the archive's promises rest on."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import archive.disk
from archive.disk import Disk


class NoLinks(Disk):
    """On a file system that cannot link."""

    def link(self, source: Path, target: Path) -> bool:
        return False


def _no_flags(*_: object) -> int:
    archive.disk.ctypes.set_errno(22)
    return -1


@pytest.mark.parametrize(
    "renameat2", ["the system's", None, _no_flags], ids=["known", "not there", "refused"]
)
def test_of_two_who_want_a_name_one_gets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renameat2: str | Callable[..., int] | None
) -> None:
    """Also where links do not work; and the other one is told, and keeps its file."""
    if not isinstance(renameat2, str):
        monkeypatch.setattr("archive.disk._RENAMEAT2", renameat2)
    for turn in range(20):
        target = tmp_path / f"{turn}.dcm"
        sources = [tmp_path / f".{turn}.{who}.part" for who in range(4)]
        gate = threading.Barrier(len(sources))
        published: list[Path] = []

        def publish(source: Path, *of: Any) -> None:
            gate, target, published = of
            source.write_text(source.name)
            gate.wait()
            try:
                NoLinks().publish(source, target)
            except FileExistsError:
                return
            published.append(source)

        threads = [threading.Thread(target=publish, args=(each, gate, target, published)) for each in sources]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        [winner] = published
        assert target.read_text() == winner.name
        assert [each for each in sources if each.exists()] == [each for each in sources if each != winner]


def test_many_copies_are_flushed_with_their_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, before any of them has its name; and what the system says of it is said of each."""
    flushed: list[set[str]] = []

    def sync(descriptor: int) -> int:
        assert os.fstat(descriptor).st_size == 4
        flushed.append({path.name for path in tmp_path.iterdir()})
        return result[0]

    result = [0]
    monkeypatch.setattr("archive.disk._SYNCFS", sync)
    (tmp_path / "source").write_bytes(b"data")
    names = {f"{number}.part" for number in range(8)}

    def drafts() -> list[archive.disk.Draft]:
        return [
            Disk().draft(tmp_path / "source", tmp_path / name, preface=b"", digest_from=0)
            for name in sorted(names)
        ]

    assert Disk().flush_all(drafts()) == {}
    assert flushed == [names | {"source"}]
    for name in names:
        (tmp_path / name).unlink()
    result[0] = -1
    archive.disk.ctypes.set_errno(5)
    failed = Disk().flush_all(drafts())
    assert [(number, error.errno) for number, error in failed.items()] == [(number, 5) for number in range(8)]
    assert len(flushed) == 2
