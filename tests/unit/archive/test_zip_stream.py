"""A ZIP file that is written front to back: other readers open it, and its length is known before."""

from __future__ import annotations

import io
import struct
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archive.zip_stream import ZipEntry, zip_length, zip_stream
from dicomrelay.errors import ArchiveError

SIZES = [0, 1, 65_534, 65_535, 65_536, 131_070, 200_001]


def chunked(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def written(contents: dict[str, bytes], chunk: int = 50_000) -> bytes:
    """The ZIP file of these, which has the length that was announced."""
    entries = [ZipEntry(name, len(data)) for name, data in contents.items()]
    pairs = zip(entries, contents.values(), strict=True)
    made = b"".join(zip_stream((entry, chunked(data, chunk)) for entry, data in pairs))
    assert len(made) == zip_length(entries)
    return made


@settings(deadline=None, max_examples=50)
@given(
    st.dictionaries(st.text("abcé/", min_size=1, max_size=9), st.sampled_from(SIZES), max_size=5),
    st.sampled_from([1000, 65_535, 262_144]),
)  # fmt: skip
def test_what_goes_in_comes_out(sizes: dict[str, int], chunk: int) -> None:
    """Whatever the sizes around those of a block, and however the bytes come."""
    contents = {
        f"{name}.dcm": bytes(range(256)) * (size // 256) + b"x" * (size % 256) for name, size in sizes.items()
    }

    with zipfile.ZipFile(io.BytesIO(written(contents, chunk))) as found:
        assert found.testzip() is None
        assert {name: found.read(name) for name in found.namelist()} == contents


def test_the_same_entries_are_the_same_bytes() -> None:
    """No time in it."""
    assert written({"a/b.dcm": b"12"}) == written({"a/b.dcm": b"12"})


def test_large_files_and_offsets_have_64_bits() -> None:
    """In the extra field (APPNOTE 4.5.3), in its order, with the plain fields full; the version says so."""
    size, offset = 5 << 30, 7 << 30
    entry = ZipEntry("x", size)

    local, central = entry.local_header(), entry.central_header(offset, 1)

    assert struct.unpack("<2H2Q", local[-20:]) == (1, 16, 0, 0)
    assert struct.unpack("<2H3Q", central[-28:]) == (1, 24, size, entry.packed, offset)
    assert central[20:28] == b"\xff" * 8
    assert (local[4], central[6]) == (45, 45)
    assert struct.unpack("<4sLQQ", entry.descriptor(1)) == (b"PK\7\x08", 1, entry.packed, size)


def test_5_gib_have_the_length_that_they_will_have() -> None:
    """By arithmetic: 5 bytes a block, local header with 64-bit sizes, descriptor, directory and both ends."""
    size = 5 << 30
    blocks = -(-size // 65_535)
    local, descriptor, central, ends = 30 + 1 + 20, 24, 46 + 1 + 20, 56 + 20 + 22

    assert zip_length([ZipEntry("x", size)]) == local + size + 5 * blocks + descriptor + central + ends


@pytest.mark.parametrize("came", [b"", b"12", b"1234"])
def test_other_bytes_than_announced_end_it(came: bytes) -> None:
    """The announced length is never reached by something else."""
    with pytest.raises(ArchiveError, match="where 3 were announced"):
        b"".join(zip_stream([(ZipEntry("a", 3), [came])]))
