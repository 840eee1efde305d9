"""Encapsulated pixel data: fragments, and which of them make a frame (PS3.5 Annex A.4).

Only item headers are read, and the last bytes of fragments where nothing else says where a frame ends. What is found goes
through a temporary file: memory does not grow with the number of fragments.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import IO, Final

from archive.frame_index import FRAGMENT_ENTRY, encode_fragment_entry
from archive.pixel_element import Extent, PixelElement
from dicomrelay.errors import FramesNotAddressable, MalformedDataSet

_ITEM: Final = 0xFFFEE000
_SEQUENCE_DELIMITATION: Final = 0xFFFEE0DD
_UNDEFINED_LENGTH: Final = 0xFFFFFFFF
# JPEG, JPEG-LS and JPEG 2000 all end a codestream so; behind it may be padding (PS3.5 Annex A.4).
_END_OF_CODESTREAM: Final = b"\xff\xd9"
_TAIL_BYTES: Final = 10
_ENTRIES_AT_ONCE: Final = 4096
_ITEM_HEAD: Final = struct.Struct("<HHI")
_PAGE_BYTES: Final = 256 * 1024
# What the disk reads ahead anyway.
_NEAR_BYTES: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class FrameRow:
    """A frame as a run of fragments."""

    offset: int
    length: int
    first_fragment: int
    fragments: int


@dataclass(frozen=True, slots=True)
class Fragments:
    """The fragments of one element, in a temporary file of fragment entries.

    Attributes
    ----------
    first_offset : int
        Where the first item behind the Basic Offset Table begins: what offsets are counted from.
    offset_table : Extent
        The value of the Basic Offset Table.
    """

    rows: IO[bytes]
    count: int
    first_offset: int
    offset_table: Extent

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Offset and length of every fragment's value."""
        self.rows.seek(0)
        while page := self.rows.read(FRAGMENT_ENTRY.size * _ENTRIES_AT_ONCE):
            for offset, length, _ in FRAGMENT_ENTRY.iter_unpack(page):
                yield offset, length


def scan_fragments(descriptor: int, element: PixelElement, *, file_bytes: int, rows: IO[bytes]) -> Fragments:
    """Walk the items of an encapsulated element.

    Raises
    ------
    MalformedDataSet
        An item is no item, or reaches behind the end of the file.
    """
    position = element.value.offset
    offset_table: Extent | None = None
    count, first_offset = 0, 0
    page, page_at = b"", 0
    while position < file_bytes:
        at = position - page_at
        if at + _ITEM_HEAD.size > len(page):
            # Small fragments come many in a page; of large ones only the header is read.
            is_near = at - len(page) <= _NEAR_BYTES
            page_at, at = position, 0
            page = os.pread(descriptor, _PAGE_BYTES if is_near else _ITEM_HEAD.size, position)
            if len(page) < _ITEM_HEAD.size:
                raise MalformedDataSet(
                    f"the file ends in the header of fragment {count + 1}", offset=position
                )
        group, number, length = _ITEM_HEAD.unpack_from(page, at)
        tag = group << 16 | number
        if tag == _SEQUENCE_DELIMITATION:
            break
        if tag != _ITEM or length == _UNDEFINED_LENGTH:
            raise MalformedDataSet(
                f"({group:04X},{number:04X}) stands where fragment {count + 1} should begin", offset=position
            )
        value = position + 8
        if value + length > file_bytes:
            raise MalformedDataSet(
                f"the file ends in fragment {count + 1}: {length} bytes announced, {file_bytes - value} are there",
                offset=position,
            )
        position = value + length
        if offset_table is None:
            offset_table, first_offset = Extent(value, length), position
        else:
            rows.write(encode_fragment_entry(value, length))
            count += 1
    rows.flush()
    return Fragments(rows, count, first_offset, offset_table or Extent(0, 0))


def frame_rows(
    descriptor: int, element: PixelElement, fragments: Fragments
) -> Callable[[], Iterator[FrameRow]]:
    """How the fragments make the declared number of frames; what is returned gives them, as often as it is called.

    Raises
    ------
    FramesNotAddressable
        They cannot be told apart.
    """
    frames = element.declared_frames
    if fragments.count == 0:
        raise FramesNotAddressable("encapsulated pixel data has no fragments")
    if fragments.count == frames:
        return partial(_one_each, descriptor, element, fragments)
    if frames == 1:
        return partial(_all_together, fragments)
    if fragments.count < frames:
        raise FramesNotAddressable(
            f"{frames} frames are announced, and {fragments.count} fragments are there"
        )
    ways: list[Callable[[], Iterator[FrameRow]]] = []
    for table, width in ((element.offset_table, 8), (fragments.offset_table, 4)):
        if table is not None and table.length == frames * width:
            ways.append(partial(_by_table, descriptor, fragments, table, width))
    ways.append(partial(_by_end_of_codestream, descriptor, fragments))
    for way in ways:
        if sum(1 for _ in way()) == frames:
            return way
    raise FramesNotAddressable(
        f"{fragments.count} fragments make {frames} frames, and neither an offset table nor ends of codestreams tell which"
    )


def _one_each(descriptor: int, element: PixelElement, fragments: Fragments) -> Iterator[FrameRow]:
    lengths = element.offset_table_lengths
    if lengths is not None and lengths.length == 8 * fragments.count:
        exact = _table(descriptor, lengths, 8)
        for number, ((offset, length), said) in enumerate(zip(fragments, exact, strict=True)):
            # The table's length leaves out the padding; one that cannot be is not believed.
            yield FrameRow(offset, said if 0 < said <= length else length, number, 1)
        return
    for number, (offset, length) in enumerate(fragments):
        yield FrameRow(offset, length, number, 1)


def _all_together(fragments: Fragments) -> Iterator[FrameRow]:
    first, total = 0, 0
    for offset, length in fragments:
        first = first or offset
        total += length
    yield FrameRow(first, total, 0, fragments.count)


def _by_table(descriptor: int, fragments: Fragments, table: Extent, width: int) -> Iterator[FrameRow]:
    """A frame begins at each offset of the table; ends early when an offset meets no fragment."""
    starts = _table(descriptor, table, width)
    if next(starts, None) != 0:
        return
    following = next(starts, None)
    group: list[int] = []  # offset, length, first fragment, fragments
    for number, (offset, length) in enumerate(fragments):
        item = offset - 8 - fragments.first_offset
        if group and following is not None and item >= following:
            if item > following:
                return
            yield FrameRow(*group)
            group = []
            following = next(starts, None)
        group = (
            [group[0], group[1] + length, group[2], group[3] + 1] if group else [offset, length, number, 1]
        )
    if following is None and group:
        yield FrameRow(*group)


def _by_end_of_codestream(descriptor: int, fragments: Fragments) -> Iterator[FrameRow]:
    group: list[int] = []
    for number, (offset, length) in enumerate(fragments):
        group = (
            [group[0], group[1] + length, group[2], group[3] + 1] if group else [offset, length, number, 1]
        )
        tail = min(length, _TAIL_BYTES)
        if _END_OF_CODESTREAM in os.pread(descriptor, tail, offset + length - tail):
            yield FrameRow(*group)
            group = []
    if group:
        yield FrameRow(*group)


def _table(descriptor: int, table: Extent, width: int) -> Iterator[int]:
    step = width * _ENTRIES_AT_ONCE
    for start in range(0, table.length, step):
        page = os.pread(descriptor, min(step, table.length - start), table.offset + start)
        whole = len(page) // width * width
        for (entry,) in struct.iter_unpack("<Q" if width == 8 else "<I", page[:whole]):
            yield entry
