"""Writes a data set in another native transfer syntax, element by element, in constant memory.

Every value stays what it is. What changes is what the syntax rules: VRs put in or left out, the order of bytes, and the
lengths that count heads (sequences and items that have one, group lengths).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from dicomrelay.dicom.elements import SHORT_VRS, UNDEFINED_LENGTH, ElementSyntax, tag_name
from dicomrelay.errors import NotTranscodable
from dicomrelay.transcode.image import PIXEL_REPRESENTATION, Image
from dicomrelay.transcode.reader import ITEM, ITEM_END, SEQUENCE_END, Element, Reader
from dicomrelay.transcode.representations import PIXEL_DATA, dictionary_vr, explicit_vr, padding, width
from dicomrelay.transcode.writer import Writer, swapped

_CHUNK_BYTES: Final = 1 << 20
_IMPLICIT: Final = ElementSyntax.of(implicit=True, little_endian=True)
_LONGEST_SHORT: Final = 0xFFFE


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to be other than in the source, in the data set itself and not in its sequences.

    Attributes
    ----------
    replaced : mapping of int to (bytes, bytes)
        Tag to VR and value, in the byte order of the copy; what the source lacks is put in.
    dropped : frozenset of int
    pixels : callable, optional
        Writes the whole element in place of the pixel data.
    """

    replaced: Mapping[int, tuple[bytes, bytes]] = field(default_factory=dict)
    dropped: frozenset[int] = frozenset()
    pixels: Callable[[Writer], None] | None = None


class Rewriter:
    """One data set on its way from a reader to a writer.

    Raises
    ------
    NotTranscodable
        Of `rewrite`: the source is malformed, passes a limit, or has a value that has no place in the other syntax.
    """

    def __init__(self, reader: Reader, writer: Writer, image: Image, changes: Changes) -> None:
        self._reader = reader
        self._writer = writer
        self._image = image
        self._changes = changes
        self._missing = sorted(changes.replaced)

    def rewrite(self) -> None:
        """All of it."""
        self._level(self._reader.end, 0, signed=self._image.pixel_representation == 1)
        self._put_in(1 << 32)
        self._writer.finish()

    def _level(self, end: int, depth: int, *, signed: bool, delimited: bool = False) -> None:
        """The elements of the data set, or of an item."""
        reader, writer = self._reader, self._writer
        group, length_at = -1, 0
        while (element := reader.inner(end) if delimited else reader.head(end)) is not None:
            if element.tag == ITEM_END and delimited:
                break
            if group >= 0 and element.tag >> 16 != group:
                writer.fill(length_at, writer.position - length_at - 4)
                group = -1
            if not depth:
                self._put_in(element.tag)
            if element.tag & 0xFFFF == 0 and element.length == 4:
                # A group length counts heads, so it is counted anew (PS3.5 Section 7.2).
                reader.skip(element, end)
                group, length_at = element.tag >> 16, writer.head(element.tag, b"UL", 4) + 4
                writer.write(bytes(4))
            elif element.tag == PIXEL_REPRESENTATION and depth:
                signed = self._value(element, signed=signed) == b"\1"
            else:
                self._element(element, end, depth, signed=signed)
        if group >= 0:
            writer.fill(length_at, writer.position - length_at - 4)

    def _element(self, element: Element, end: int, depth: int, *, signed: bool) -> None:
        changed = not depth and (
            element.tag in self._changes.replaced or element.tag in self._changes.dropped
        )
        if changed:
            self._reader.skip(element, end)
        elif element.is_fragments:
            if depth or self._changes.pixels is None:
                raise NotTranscodable(
                    f"byte {element.begin}: {tag_name(element.tag)} is compressed where it cannot be decoded"
                )
            self._reader.skip(element, end)
            self._changes.pixels(self._writer)
        elif element.tag == PIXEL_DATA and not depth and self._changes.pixels is not None:
            self._reader.skip(element, end)
            self._changes.pixels(self._writer)
        elif element.is_sequence:
            self._sequence(element, end, depth, signed=signed)
        else:
            self._value(element, signed=signed)

    def _put_in(self, before: int) -> None:
        """What is replaced stands in its place by tag, whether the source has it or not."""
        while self._missing and self._missing[0] <= before:
            tag = self._missing.pop(0)
            self._writer.element(tag, *self._changes.replaced[tag])

    # ---- sequences

    def _sequence(self, element: Element, end: int, depth: int, *, signed: bool) -> None:
        reader, writer = self._reader, self._writer
        reader.check_depth(depth)
        outer, source = writer.syntax, reader.enter(element)
        # What nobody knows keeps its bytes: UN without a length is implicit VR little endian inside (PS3.5 Section 6.2.2).
        unknown = element.vr == b"UN" or (not element.vr and dictionary_vr(element.tag) != "SQ")
        length_at = writer.head(element.tag, b"UN" if unknown else b"SQ", element.length)
        if unknown:
            writer.syntax = _IMPLICIT
        begin = writer.position
        self._items(element, end, depth, signed=signed)
        if element.is_undefined:
            writer.head(SEQUENCE_END, b"", 0)
        writer.syntax, reader.syntax = outer, source
        if not element.is_undefined:
            writer.fill(length_at, writer.position - begin)

    def _items(self, element: Element, end: int, depth: int, *, signed: bool) -> None:
        reader, writer = self._reader, self._writer
        last = end if element.is_undefined else element.value + element.length
        while element.is_undefined or reader.position < last:
            item = reader.mark(last)
            if item.tag == SEQUENCE_END:
                if element.is_undefined:
                    return
                continue
            length_at = writer.head(ITEM, b"", item.length)
            begin = writer.position
            if item.is_undefined:
                self._level(last, depth + 1, signed=signed, delimited=True)
                writer.head(ITEM_END, b"", 0)
            else:
                self._level(item.value + item.length, depth + 1, signed=signed)
                writer.fill(length_at, writer.position - begin)

    # ---- values

    def _value(self, element: Element, *, signed: bool) -> bytes:
        """One value; its first byte in little endian, for whoever wants to know."""
        reader, writer = self._reader, self._writer
        vr = element.vr or explicit_vr(element.tag, signed=signed)
        number_bytes = self._number_bytes(element, vr)
        if element.length > _LONGEST_SHORT and vr in SHORT_VRS:
            vr, number_bytes = b"UN", 1  # too long for its own VR (PS3.5 Section 6.2.2 Note 3)
        if element.length % max(number_bytes, 1):
            raise NotTranscodable(
                f"byte {element.begin}: {tag_name(element.tag)} has {element.length} bytes, "
                f"which are no numbers of {number_bytes}"
            )
        odd = element.length % 2
        if element.length + odd >= UNDEFINED_LENGTH:
            raise NotTranscodable(f"byte {element.begin}: {tag_name(element.tag)} is too long")
        writer.head(element.tag, vr, element.length + odd)
        left, first = element.length, b""
        while left:
            data = reader.take(min(left, _CHUNK_BYTES), reader.end)
            left -= len(data)
            first = first or (data[:1] if self._source_is_little_endian else data[1:2])
            writer.write(data if number_bytes == 1 else swapped(data, number_bytes))
        if odd:
            writer.write(padding(vr))
        return first

    def _number_bytes(self, element: Element, vr: bytes) -> int:
        """How many bytes turn around together; 1 when none do."""
        if self._source_is_little_endian == self._writer.is_little_endian:
            return 1
        number_bytes = width(vr)
        if number_bytes is None:
            raise NotTranscodable(
                f"{tag_name(element.tag)} has the VR {vr.decode('latin-1')}, whose byte order nobody knows"
            )
        if element.tag == PIXEL_DATA and vr == b"OW" and self._image.bits_allocated > 16:
            # Words of 16 bits by PS3.5 Section 6.2, numbers of 32 bits to most programs.
            raise NotTranscodable("32-bit samples in OW: programs differ in how they turn the bytes around")
        return number_bytes

    @property
    def _source_is_little_endian(self) -> bool:
        return self._reader.syntax.head.format.startswith("<")
