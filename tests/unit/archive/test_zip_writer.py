"""The ZIP writer, held against the standard library's reader and Info-ZIP."""

from __future__ import annotations

import io
import subprocess
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive import zip_writer
from archive.zip_writer import ZipWriter
from dicomrelay.errors import ConfigurationError
from tests.support.house import require

GIB = 1 << 30


def written(entries: list[tuple[str, bytes]], *, deflate: bool = True) -> bytes:
    file = io.BytesIO()
    with ZipWriter(file) as writer:
        for name, data in entries:
            writer.add(name, [data[:3], data[3:]], size=len(data), modified_s=1_700_000_000, deflate=deflate)
        writer.finish()
    return file.getvalue()


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="\0\\"), min_size=1, max_size=40).filter(
            lambda name: not name.endswith("/")
        ),
        st.binary(max_size=500),
        max_size=8,
    ),
    st.booleans(),
)
def test_every_entry_is_read_back(entries: dict[str, bytes], deflate: bool) -> None:
    """Names in UTF-8, bytes, checksums."""
    with zipfile.ZipFile(io.BytesIO(written([*entries.items()], deflate=deflate))) as opened:
        assert opened.testzip() is None
        assert {name: opened.read(name) for name in opened.namelist()} == entries


def test_the_time_is_in_utc(tmp_path: Path) -> None:
    """2023-11-14 22:13:20; nothing before 1980 fits."""
    file = io.BytesIO()
    with ZipWriter(file) as writer:
        writer.add("a", [b"a"], size=1, modified_s=1_700_000_000)
        writer.add("b", [b"b"], size=1, modified_s=0)
        writer.finish()
    with zipfile.ZipFile(file) as opened:
        assert [entry.date_time for entry in opened.infolist()] == [
            (2023, 11, 14, 22, 13, 20),
            (1980, 1, 1, 0, 0, 0),
        ]


def test_what_fails_is_cut_off() -> None:
    """An entry whose bytes raise is not in the file, and the next one stands where it was."""

    def broken() -> Iterator[bytes]:
        yield b"x" * 100_000
        raise KeyError

    file = io.BytesIO()
    with ZipWriter(file) as writer:
        writer.add("first", [b"1"], size=1, modified_s=0)
        before = file.getvalue()
        with pytest.raises(KeyError):
            writer.add("broken", broken(), size=100_000, modified_s=0, deflate=False)
        assert file.getvalue() == before
        writer.add("second", [b"2"], size=1, modified_s=0)
        writer.finish()
    with zipfile.ZipFile(file) as opened:
        assert opened.testzip() is None
        assert opened.namelist() == ["first", "second"]


@pytest.mark.parametrize("name", ["", "x" * 70_000])
def test_a_name_that_cannot_be_is_refused(name: str) -> None:
    """The format has 16 bits for its length."""
    with ZipWriter(io.BytesIO()) as writer, pytest.raises(ConfigurationError):
        writer.add(name, [b""], size=0, modified_s=0)


def test_more_entries_than_16_bits_count() -> None:
    """ZIP64's end record; memory is not that of the entries."""
    file = io.BytesIO()
    count = 70_000
    with ZipWriter(file) as writer:
        for number in range(1000):
            writer.add(f"{number:06}", [b""], size=0, modified_s=0, deflate=False)
        tracemalloc.start()
        for number in range(1000, count):
            writer.add(f"{number:06}", [b""], size=0, modified_s=0, deflate=False)
        # The BytesIO itself grows by some 36 bytes an entry, and by half of itself for a moment.
        assert tracemalloc.get_traced_memory()[0] < 15_000_000
        tracemalloc.stop()
        writer.finish()
    with zipfile.ZipFile(file) as opened:
        assert len(opened.infolist()) == count
        assert opened.namelist()[-1] == f"{count - 1:06}"


def test_entries_and_offsets_beyond_4_gib(tmp_path: Path) -> None:
    """Holes in a sparse file: an entry of 4 GiB, one behind it, and a reader that finds both."""
    path = tmp_path / "large.zip"

    class Sparse(io.FileIO):
        def write(self, data: bytes) -> int:  # type: ignore[override]
            if len(data) == GIB // 4:
                self.seek(len(data) - 1, 1)
                super().write(b"\0")
                return len(data)
            return super().write(data)

    zeros = bytes(GIB // 4)
    with Sparse(path, "w+") as file, ZipWriter(file) as writer:
        writer.add("large", (zeros for _ in range(17)), size=17 * GIB // 4, modified_s=0, deflate=False)
        writer.add("behind", [b"it"], size=2, modified_s=0)
        writer.finish()
    with zipfile.ZipFile(path) as opened:
        assert opened.getinfo("large").file_size == 17 * GIB // 4
        assert opened.getinfo("behind").header_offset > 4 * GIB
        assert opened.read("behind") == b"it"
    listed = subprocess.run([require("unzip"), "-l", str(path)], capture_output=True, check=True, timeout=60)
    assert b"4563402752" in listed.stdout


def test_more_bytes_than_announced_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry that turns out to need 64 bits, and was begun without."""
    monkeypatch.setattr(zip_writer, "LARGEST", 1000)
    with ZipWriter(io.BytesIO()) as writer, pytest.raises(ConfigurationError, match="announced"):
        writer.add("a", [bytes(2000)], size=10, modified_s=0, deflate=False)
