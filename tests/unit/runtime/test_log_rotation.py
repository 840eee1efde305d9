"""Log files that are too large are put away, while somebody writes to them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dicomrelay.runtime.log_rotation import rotate


def lines(path: Path) -> list[int]:
    """The numbers in a file, one a line."""
    return [int(line) for line in path.read_text("ascii").split()] if path.exists() else []


def test_a_file_within_its_bound_is_left_alone(tmp_path: Path) -> None:
    """And one that is not there, too."""
    path = tmp_path / "gateway.log"
    assert not rotate(path, max_bytes=10, files=3)
    path.write_bytes(b"0123456789")
    assert not rotate(path, max_bytes=10, files=3)
    assert list(tmp_path.iterdir()) == [path]


def test_the_newest_are_kept_and_the_oldest_goes(tmp_path: Path) -> None:
    """In their order, for whoever may read the log itself."""
    path = tmp_path / "gateway.log"
    for number in range(5):
        path.write_text(f"{number}" * 11)
        path.chmod(0o640)
        assert rotate(path, max_bytes=10, files=3)
        assert path.read_bytes() == b""
    kept = {each.name: each.read_text()[0] for each in tmp_path.iterdir() if each != path}
    assert kept == {"gateway.log.1": "4", "gateway.log.2": "3", "gateway.log.3": "2"}
    assert (tmp_path / "gateway.log.1").stat().st_mode & 0o777 == 0o640


def test_a_process_that_writes_goes_on_in_the_same_file(tmp_path: Path) -> None:
    """It has it open; whole lines, in order, each once."""
    path = tmp_path / "worker.log"
    program = "import sys\nfor n in range(int(sys.stdin.readline())):\n print(n, flush=True)\nsys.stdin.readline()\n"
    program += "print('1000000', flush=True)\n"
    with path.open("ab") as log:
        process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=log)
    assert process.stdin is not None
    process.stdin.write(b"3000\n")
    process.stdin.flush()
    while process.poll() is None and (not lines(path) or lines(path)[-1] < 2999):
        pass
    assert rotate(path, max_bytes=1000, files=3)
    assert path.stat().st_size == 0
    process.stdin.write(b"\n")
    process.stdin.close()
    process.wait(20)
    assert lines(tmp_path / "worker.log.1") == list(range(3000))
    assert path.read_bytes() == b"1000000\n", "no hole where the old lines were"


def test_a_folder_that_cannot_be_written_costs_no_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file stays as it is and grows."""
    path = tmp_path / "gateway.log"
    path.write_bytes(b"x" * 20)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dicomrelay.runtime.log_rotation.shutil.copyfileobj", refuse)
    with pytest.raises(OSError, match="No space"):
        rotate(path, max_bytes=10, files=3)
    assert path.read_bytes() == b"x" * 20
