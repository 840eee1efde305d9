"""Frame indexes of pixel data that is made by the standard's rules, one case at a time."""

from __future__ import annotations

import dataclasses
import os
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate_extended

from archive import Archive, FrameSummary
from archive import inflate as inflating
from archive.disk import digest_of
from archive.frame_header import FrameLayout
from archive.frame_index import FrameIndex
from archive.frame_reader import frame_chunks
from archive.inflate import inflate, largest_inflated
from benchmarks.processes import peak_mib
from dicomrelay.errors import (
    FrameIndexDamaged,
    FrameOutOfRange,
    FramesNotAddressable,
    InstanceNotFound,
    MalformedDataSet,
)
from tests.support.archive import pydicom_file, request_for
from tests.support.frames import item, items, pixel_file

DEFLATED = "1.2.840.10008.1.2.1.99"
EXPLICIT, BIG, JPEG, RLE, MPEG = (f"1.2.840.10008.1.2{end}" for end in (".1", ".2", ".4.50", ".5", ".4.102"))


class Shelf:
    """An archive, and files made for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.archive = Archive.open(folder / "archive")

    def file(self, pixel_data: bytes, syntax: str, *, undefined: bool = False, **attributes: object) -> Path:
        """A file whose pixel data element holds exactly these bytes."""
        return pixel_file(self.folder, pixel_data, syntax, undefined=undefined, **attributes)

    def prepare(self, path: Path) -> tuple[FrameSummary, list[bytes]]:
        """What the archive makes of a file: the summary, and the bytes of every frame."""
        request = request_for(path)
        [result] = self.archive.store([request])
        summary = self.archive.prepare_frames(result.relative_path)
        layout = self.archive.layout
        relative = layout.frames(
            request.study_instance_uid, request.series_instance_uid, request.sop_instance_uid
        )
        with closing(FrameIndex.open(layout.resolve(relative))) as index:
            self.header = index.header
            descriptor = os.open(layout.resolve(index.header.data_path), os.O_RDONLY)
            try:
                frames = []
                for number in range(1, summary.count + 1):
                    location = index.locate(number)
                    frames.append(b"".join(frame_chunks(index, location, descriptor)))
                    assert len(frames[-1]) == location.length_bytes
                for number in (0, summary.count + 1):
                    with pytest.raises((FrameOutOfRange, FramesNotAddressable)):
                        index.locate(number)
            finally:
                os.close(descriptor)
        return summary, frames


def leftovers(shelf: Shelf) -> list[Path]:
    """Inflated data sets, whole or not, that are in the archive."""
    return [path for path in shelf.archive.layout.root.rglob("*") if path.suffix in {".inflated", ".part"}]


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    made = Shelf(tmp_path)
    yield made
    made.archive.close()


@pytest.mark.parametrize("frames", [1, 3])
def test_native_frames_lie_one_behind_the_other(shelf: Shelf, frames: int) -> None:
    """Frame n is the n-th slice; padding at the end belongs to none."""
    data = bytes(range(6 * frames))

    summary, found = shelf.prepare(
        shelf.file(data + b"\0" * (len(data) % 2), EXPLICIT, NumberOfFrames=frames)
    )

    assert summary == FrameSummary(frames)
    assert found == [data[6 * n : 6 * n + 6] for n in range(frames)]


@pytest.mark.parametrize("columns", [3, 8, 13])
def test_one_bit_frames_begin_on_a_byte_when_served(shelf: Shelf, columns: int) -> None:
    """PS3.5 Section 8.1.1: bits are packed across frames; each frame comes with its own bits and zeros behind."""
    bits = np.random.default_rng(5).integers(0, 2, (7, 5, columns), dtype=np.uint8)
    packed = np.packbits(bits.ravel(), bitorder="little").tobytes()
    path = shelf.file(
        packed + b"\0" * (len(packed) % 2),
        EXPLICIT,
        NumberOfFrames=7,
        Rows=5,
        Columns=columns,
        BitsAllocated=1,
    )

    _, found = shelf.prepare(path)

    assert found == [np.packbits(frame.ravel(), bitorder="little").tobytes() for frame in bits]


def test_a_large_one_bit_frame_is_shifted_across_chunks(shelf: Shelf) -> None:
    """The bits at a chunk's edge come from the chunk behind it."""
    bits = np.random.default_rng(6).integers(0, 2, (2, 1801, 1601), dtype=np.uint8)
    packed = np.packbits(bits.ravel(), bitorder="little").tobytes()
    path = shelf.file(packed, EXPLICIT, NumberOfFrames=2, Rows=1801, Columns=1601, BitsAllocated=1)

    _, found = shelf.prepare(path)

    assert found == [np.packbits(frame.ravel(), bitorder="little").tobytes() for frame in bits]


@pytest.mark.parametrize(("bits", "unit"), [(16, 2), (32, 4), (64, 8)])
def test_big_endian_frames_are_served_little_endian(shelf: Shelf, bits: int, unit: int) -> None:
    """What is served has one byte order, whatever is stored."""
    values = np.random.default_rng(7).integers(0, 2**31, (3, 300, 301)).astype(f"<u{bits // 8}")
    path = shelf.file(
        values.byteswap().tobytes(), BIG, NumberOfFrames=3, Rows=300, Columns=301, BitsAllocated=bits
    )

    _, found = shelf.prepare(path)

    assert found == [frame.tobytes() for frame in values]
    assert shelf.header.swap_bytes == unit


def test_subsampled_chrominance_takes_two_thirds(shelf: Shelf) -> None:
    """PS3.3 Section C.7.6.3.1.2: two bytes a pixel; but one that writes all three is believed."""
    colour = {
        "SamplesPerPixel": 3,
        "PhotometricInterpretation": "YBR_FULL_422",
        "Columns": 4,
        "NumberOfFrames": 2,
    }

    _, subsampled = shelf.prepare(shelf.file(bytes(range(32)), EXPLICIT, **colour))
    _, full = shelf.prepare(shelf.file(bytes(range(48)), EXPLICIT, **colour))

    assert subsampled == [bytes(range(16)), bytes(range(16, 32))]
    assert full == [bytes(range(24)), bytes(range(24, 48))]


def test_a_fragment_for_each_frame(shelf: Shelf) -> None:
    """With an empty Basic Offset Table there is nothing else to go by, and no need for it."""
    values = [b"\xff\xd8a1", b"\xff\xd8a2b2", b"\xff\xd8a3"]

    summary, found = shelf.prepare(shelf.file(items(*values), RLE, undefined=True, NumberOfFrames=3))

    assert (summary.count, found) == (3, values)
    assert shelf.header.fragment_count == 0


def test_one_frame_of_many_fragments(shelf: Shelf) -> None:
    """PS3.5 Annex A.4: a frame may be cut anywhere."""
    values = [b"a" * 10, b"b" * 20, b"c" * 2]

    summary, found = shelf.prepare(shelf.file(items(*values), JPEG, undefined=True))

    assert (summary.count, found) == (1, [b"".join(values)])


FRAGMENTS = [b"aa\xff\xd9", b"bbbb", b"cc\xff\xd9", b"dddd", b"eeee", b"f\xff\xd9\0"]
JOINED = [FRAGMENTS[0], FRAGMENTS[1] + FRAGMENTS[2], b"".join(FRAGMENTS[3:])]


@pytest.mark.parametrize(
    "table",
    [b"", struct.pack("<3I", 0, 12, 36), struct.pack("<3I", 0, 13, 37), struct.pack("<2I", 0, 12)],
    ids=["no table", "right table", "wrong table", "short table"],
)
def test_fragments_are_joined_to_frames(shelf: Shelf, table: bytes) -> None:
    """By the Basic Offset Table, and by the ends of codestreams when it is empty or contradicts the fragments."""
    path = shelf.file(items(*FRAGMENTS, table=table), JPEG, undefined=True, NumberOfFrames=3)

    assert shelf.prepare(path) == (FrameSummary(3), JOINED)


def test_a_basic_offset_table_is_enough_without_codestreams(shelf: Shelf) -> None:
    """Only the table knows here."""
    values = [b"aaaa", b"bb", b"cc"]
    path = shelf.file(items(*values, table=struct.pack("<2I", 0, 22)), JPEG, undefined=True, NumberOfFrames=2)

    assert shelf.prepare(path)[1] == [b"aaaabb", b"cc"]


def test_an_extended_offset_table_gives_lengths_without_padding(shelf: Shelf) -> None:
    """PS3.3 Section C.7.6.3.1.8: frames of odd length come without the byte that fills them up."""
    frames = [b"abc", b"defg", b"hijkl"]
    # pydicom's own lengths count the padding.
    value, offsets, _ = encapsulate_extended(frames)
    lengths = struct.pack("<3Q", 3, 4, 5)
    path = shelf.file(
        value,
        JPEG,
        undefined=True,
        NumberOfFrames=3,
        ExtendedOffsetTable=offsets,
        ExtendedOffsetTableLengths=lengths,
    )

    assert shelf.prepare(path)[1] == frames


@pytest.mark.parametrize(
    ("value", "syntax", "attributes", "words"),
    [
        (items(b"aaaa", b"bbbb"), JPEG, {"NumberOfFrames": 3}, "3 frames are announced, and 2 fragments"),
        (items(b"aaaa", b"bbbb", b"cccc"), JPEG, {"NumberOfFrames": 2}, "neither an offset table"),
        (items(), JPEG, {}, "no fragments"),
        (items(b"aaaa")[:-12], JPEG, {}, "the file ends in fragment 1"),
        (items(b"aaaa", end=False) + b"junkjunk", JPEG, {}, "stands where fragment 2 should begin"),
        (items(b"\0\0\1\xb3" * 4), MPEG, {"NumberOfFrames": 1}, "one bit stream"),
        (items(b"aaaa"), EXPLICIT, {}, "undefined length"),
        (b"abcdef", EXPLICIT, {"Rows": 0}, "missing or zero"),
        (b"abcd", EXPLICIT, {}, "0 of 1 frames"),
        (b"abcdef", EXPLICIT, {"Rows": 65535, "Columns": 65535, "NumberOfFrames": 2**31 - 1}, "0 of 2147483647"),
        (items(b"aaaa"), JPEG, {"NumberOfFrames": 2**31 - 1}, "2147483647 frames are announced"),
    ],
)  # fmt: skip
def test_what_cannot_be_addressed_says_why(
    shelf: Shelf, value: bytes, syntax: str, attributes: dict[str, object], words: str
) -> None:
    """The reason is kept in the index: nobody tries again, and the streamer can say it."""
    path = shelf.file(value, syntax, undefined=value[:2] == b"\xfe\xff", **attributes)

    summary, _ = shelf.prepare(path)

    assert summary.count == 0
    assert words in summary.reason
    assert shelf.header.layout is FrameLayout.NONE
    assert shelf.header.reason == summary.reason


def test_whole_frames_of_a_cut_file_can_be_served(shelf: Shelf) -> None:
    """Two of three frames arrived: two are there."""
    summary, found = shelf.prepare(shelf.file(bytes(range(16)), EXPLICIT, NumberOfFrames=3))

    assert found == [bytes(range(6)), bytes(range(6, 12))]
    assert "2 of 3 frames" in summary.reason


def test_an_encapsulated_syntax_with_native_length_is_refused(shelf: Shelf) -> None:
    """Its bytes are either; nobody is sent a guess."""
    summary, _ = shelf.prepare(shelf.file(b"abcdef", JPEG))

    assert "which encapsulates" in summary.reason


def test_deflated_frames_come_from_a_file_of_their_own(shelf: Shelf) -> None:
    """PS3.5 Annex A.5: inflated once; the stored file stays as it was."""
    path = pydicom_file("image_dfl.dcm")

    summary, [frame] = shelf.prepare(path)

    assert summary == FrameSummary(1)
    assert len(frame) == 512 * 512
    assert shelf.header.data_path.endswith(".inflated")
    assert shelf.header.stored_path.endswith(".dcm")


@pytest.mark.parametrize("cut", [100, 1000])
def test_a_damaged_deflated_data_set_says_so(shelf: Shelf, cut: int) -> None:
    """Cut short: a reason, and nothing half inflated left."""
    path = shelf.folder / "cut.dcm"
    whole = request_for(pydicom_file("image_dfl.dcm"))
    path.write_bytes(whole.source.read_bytes()[:-cut])
    request = dataclasses.replace(
        whole, source=path, data_set_bytes=whole.data_set_bytes - cut,
        digest=digest_of(path, offset=whole.data_set_offset),
    )  # fmt: skip
    [result] = shelf.archive.store([request])

    summary = shelf.archive.prepare_frames(result.relative_path)

    assert summary.count == 0
    assert "deflated data set" in summary.reason
    assert not leftovers(shelf)


def test_inflating_stops_at_its_limit(tmp_path: Path) -> None:
    """A bomb of zeros is stopped by what it has become, not by what it says."""
    bomb = tmp_path / "bomb"
    deflater = zlib.compressobj(wbits=-15)
    bomb.write_bytes(deflater.compress(bytes(20_000_000)) + deflater.flush())

    with pytest.raises(MalformedDataSet, match="inflates to more than 5000000 bytes"):
        inflate(bomb, offset=0, target=tmp_path / "out", limit_bytes=5_000_000)

    assert (tmp_path / "out").stat().st_size <= 5_000_000


def test_a_deflate_bomb_in_the_archive_is_a_reason_and_no_file(shelf: Shelf) -> None:
    """What inflates to more than 200 times its size, and 16 MiB, has no frames; the reason is kept, the bytes are not."""
    bomb = shelf.file(bytes(40_000_000), EXPLICIT, Rows=5000, Columns=8000)
    ds = dcmread(bomb)
    ds.file_meta.TransferSyntaxUID = DEFLATED
    ds.save_as(bomb, enforce_file_format=True)
    request = request_for(bomb)
    assert request.data_set_bytes < 100_000
    [stored] = shelf.archive.store([request])

    summary = shelf.archive.prepare_frames(stored.relative_path)

    assert summary.count == 0
    assert f"inflates to more than {largest_inflated(request.data_set_bytes)} bytes" in summary.reason
    assert shelf.archive.prepare_frames(stored.relative_path) == summary
    assert not leftovers(shelf)


@pytest.mark.parametrize(
    ("deflated", "most"), [(0, 2**24), (1_000_000, 200_000_000 + 2**24), (10_000_000, 2**30), (2**40, 2**30)]
)
def test_what_a_data_set_may_inflate_to_grows_with_it_to_one_gibibyte(deflated: int, most: int) -> None:
    """200 times its size and 16 MiB, 1 GiB at most."""
    assert largest_inflated(deflated) == most


def test_nothing_is_inflated_into_the_reserve_of_the_disk(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all of the disk as the reserve: a reason that says what to do, and no file."""
    monkeypatch.setattr(inflating, "RESERVE_BYTES", 2**62)
    monkeypatch.setattr(inflating, "RESERVE_SHARE", 1.0)
    [stored] = shelf.archive.store([request_for(pydicom_file("image_dfl.dcm"))])

    summary = shelf.archive.prepare_frames(stored.relative_path)

    assert (summary.count, "make room" in summary.reason) == (0, True)
    assert not leftovers(shelf)
    monkeypatch.undo()
    next(shelf.archive.layout.root.rglob("*.frames")).unlink()
    assert shelf.archive.prepare_frames(stored.relative_path) == FrameSummary(1)


def test_an_index_that_fits_is_kept_and_a_damaged_one_is_made_again(shelf: Shelf) -> None:
    """Preparing twice is one look; damage is repaired."""
    shelf.prepare(pydicom_file("CT_small.dcm"))
    path = next(shelf.archive.layout.root.rglob("*.frames"))
    stored = shelf.header.stored_path
    before = path.stat().st_ino

    shelf.archive.prepare_frames(stored)
    kept = path.stat().st_ino
    path.write_bytes(path.read_bytes()[:-10])
    summary = shelf.archive.prepare_frames(stored)

    assert kept == before
    assert summary == FrameSummary(1)
    with closing(FrameIndex.open(path)) as index:
        assert index.header == shelf.header


@pytest.mark.parametrize("change", [b"", b"\0" * 32], ids=["cut", "longer"])
def test_an_index_of_another_length_is_made_again(shelf: Shelf, change: bytes) -> None:
    """Its header is sound, and its tables are not all there, or something stands behind them."""
    shelf.prepare(shelf.file(items(b"ab", b"cd", b"ef"), RLE, undefined=True, NumberOfFrames=3))
    path = next(shelf.archive.layout.root.rglob("*.frames"))
    whole = path.read_bytes()
    path.write_bytes(whole + change if change else whole[:-32])
    with pytest.raises(FrameIndexDamaged, match="bytes where its header expects"):
        FrameIndex.open(path)

    assert shelf.archive.prepare_frames(shelf.header.stored_path) == FrameSummary(3)

    assert path.read_bytes() == whole


@pytest.mark.parametrize("harm", ["gone", "cut"])
def test_an_inflated_file_that_is_not_as_it_was_is_made_again(shelf: Shelf, harm: str) -> None:
    """The index fits, and what it is of does not."""
    _, [frame] = shelf.prepare(pydicom_file("image_dfl.dcm"))
    [inflated] = leftovers(shelf)
    if harm == "gone":
        inflated.unlink()
    else:
        os.truncate(inflated, 1000)

    assert shelf.archive.prepare_frames(shelf.header.stored_path) == FrameSummary(1)

    assert frame in inflated.read_bytes()


def test_frames_of_an_unknown_path_are_refused(shelf: Shelf) -> None:
    """Only what the index knows has frames."""
    with pytest.raises(InstanceNotFound, match="no instance x"):
        shelf.archive.prepare_frames("data/x.dcm")


def fragments(count: int, end: bytes) -> Callable[[BinaryIO], None]:
    """Writes so many fragments of two bytes; every second one with that end."""

    def write(file: BinaryIO) -> None:
        file.write(item(b""))
        file.writelines((item(b"ab") + item(end)) * 1000 for _ in range(count // 2000))
        file.write(item(b"", 0xE0DD))

    return write


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts what is resident")
@pytest.mark.parametrize(("frames", "end"), [(400_000, b"cd"), (200_000, b"\xff\xd9")])
def test_memory_does_not_grow_with_the_number_of_frames(shelf: Shelf, frames: int, end: bytes) -> None:
    """400,000 fragments, one or two a frame: tables of 12.8 MB, and the process holds at most 2 MB more than before."""
    path = pixel_file(shelf.folder, fragments(400_000, end), JPEG, NumberOfFrames=frames)
    [result] = shelf.archive.store([request_for(path)])
    Path("/proc/self/clear_refs").write_text("5", "ascii")  # the peak is counted from here (proc(5))
    before = peak_mib(os.getpid())

    summary = shelf.archive.prepare_frames(result.relative_path)

    assert peak_mib(os.getpid()) - before < 2
    assert summary.count == frames
    with closing(FrameIndex.open(next(shelf.archive.layout.root.rglob("*.frames")))) as index:
        last = index.locate(frames)
        assert [length for _, length in index.pieces(last)] == [2] * (400_000 // frames)
        end_of_data = path.stat().st_size - len(item(b""))
        offset, length = list(index.pieces(last))[-1]
        # The archive writes a file meta of its own in front.
        assert offset + length - index.header.data_bytes == end_of_data - path.stat().st_size


def test_millions_of_native_frames_take_no_table(shelf: Shelf) -> None:
    """Four million frames of one bit each: the index is a header, and the last of them is found by arithmetic."""
    bits = np.random.default_rng(8).integers(0, 2, 4_000_000, dtype=np.uint8)
    packed = np.packbits(bits, bitorder="little").tobytes()
    path = shelf.file(packed, EXPLICIT, Rows=1, Columns=1, BitsAllocated=1, NumberOfFrames=len(bits))
    [result] = shelf.archive.store([request_for(path)])

    assert shelf.archive.prepare_frames(result.relative_path) == FrameSummary(len(bits))

    found = next(shelf.archive.layout.root.rglob("*.frames"))
    assert found.stat().st_size < 1024
    with (
        closing(FrameIndex.open(found)) as index,
        (shelf.archive.layout.root / index.header.data_path).open("rb") as data,
    ):
        for number in (1, 2, 3_999_999, 4_000_000):
            [frame] = frame_chunks(index, index.locate(number), data.fileno())
            assert frame == bytes([bits[number - 1]])
