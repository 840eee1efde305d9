"""Reads a data set element by element from a file, heads into memory and values only when asked.

Stricter than the header scan: what is to be written anew must be understood to its last byte.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO, Final

from dicomrelay.dicom.elements import UNDEFINED_LENGTH, ElementSyntax, has_long_form, looks_like_vr, tag_name
from dicomrelay.errors import NotTranscodable
from dicomrelay.transcode.representations import PIXEL_DATA, dictionary_vr
from dicomrelay.transcode.values import TranscodeLimits

ITEM: Final = 0xFFFEE000
ITEM_END: Final = 0xFFFEE00D
SEQUENCE_END: Final = 0xFFFEE0DD
_MARKS: Final = frozenset({ITEM, ITEM_END, SEQUENCE_END})
# Values that are looked at are numbers and code strings.
_MAX_KEPT_BYTES: Final = 1024


@dataclass(frozen=True, slots=True)
class Element:
    """The head of an element.

    Attributes
    ----------
    vr : bytes
        "" where the syntax leaves VRs out, and for items and delimiters.
    length : int
        Of the value; `UNDEFINED_LENGTH` when a delimiter ends it.
    begin, value : int
        Where head and value begin in the file.
    """

    tag: int
    vr: bytes
    length: int
    begin: int
    value: int

    @property
    def is_undefined(self) -> bool:
        """Whether a delimiter ends it."""
        return self.length == UNDEFINED_LENGTH

    @property
    def is_sequence(self) -> bool:
        """Whether the value is items; not of what is UN to us and has a length, which stays a string of bytes."""
        if self.vr == b"SQ":
            return True
        if self.is_undefined:
            return not self.is_fragments
        return not self.vr and dictionary_vr(self.tag) == "SQ"

    @property
    def is_fragments(self) -> bool:
        """Whether the value is encapsulated pixel data (PS3.5 Annex A.4)."""
        return self.is_undefined and (self.tag == PIXEL_DATA or self.vr in {b"OB", b"OW"})

    @property
    def is_implicit_inside(self) -> bool:
        """Whether its items leave VRs out although it does not (PS3.5 Section 6.2.2 Note 4)."""
        return self.vr == b"UN" and self.is_undefined


class Reader:
    """A data set in a file; the position moves with what is read.

    Parameters
    ----------
    end : int
        Where the data set ends in the file.

    Raises
    ------
    NotTranscodable
        From every method: the bytes are not what the transfer syntax says, end early, or pass a limit.
    OSError
        The file cannot be read.
    """

    def __init__(
        self, file: BinaryIO, *, begin: int, end: int, syntax: ElementSyntax, limits: TranscodeLimits
    ) -> None:
        self.syntax = syntax
        self.position = begin
        self.end = end
        self._file = file
        self._limits = limits
        self._elements = 0
        file.seek(begin)

    def head(self, end: int) -> Element | None:
        """The next element's head; None at `end`, or behind nothing but zeros up to the end of the data set."""
        begin = self.position
        if begin >= end:
            return None
        data = self.take(8, end)
        if data == bytes(8) and end == self.end:
            if any(data := self.take(min(end - self.position, 1 << 16), end)) or self.position < end:
                raise NotTranscodable(f"byte {begin}: zeros where an element should be")
            return None
        self._elements += 1
        if self._elements > self._limits.max_elements:
            raise NotTranscodable(f"more than {self._limits.max_elements} data elements")
        group, number = self.syntax.head.unpack(data)[:2]
        tag = group << 16 | number
        vr, length = self._vr_and_length(tag, data, end)
        if length != UNDEFINED_LENGTH and self.position + length > end:
            raise NotTranscodable(
                f"byte {begin}: {tag_name(tag)} says {length} bytes, {end - self.position} are left"
            )
        if length == UNDEFINED_LENGTH and vr not in {b"", b"SQ", b"UN", b"OB", b"OW"}:
            raise NotTranscodable(f"byte {begin}: {tag_name(tag)} of VR {vr.decode()} has no length")
        return Element(tag, vr, length, begin, self.position)

    def _vr_and_length(self, tag: int, data: bytes, end: int) -> tuple[bytes, int]:
        if self.syntax.implicit or tag in _MARKS:
            return b"", int(self.syntax.length.unpack_from(data, 4)[0])
        vr = data[4:6]
        if not looks_like_vr(vr):
            raise NotTranscodable(
                f"byte {self.position - 8}: {tag_name(tag)} has no VR, and the transfer syntax says it has"
            )
        if not has_long_form(vr, data[6:8]):
            return vr, int(self.syntax.head.unpack(data)[3])
        return vr, int(self.syntax.length.unpack(self.take(4, end))[0])

    def take(self, count: int, end: int) -> bytes:
        """The next bytes, all of them."""
        if self.position + count > end:
            raise NotTranscodable(f"byte {self.position}: the data set ends inside an element")
        data = self._file.read(count)
        if len(data) != count:
            raise NotTranscodable(f"byte {self.position}: the file ends inside the data set")
        self.position += count
        return data

    def kept(self, element: Element) -> bytes:
        """The value of a short element that somebody has to look at."""
        if element.length > _MAX_KEPT_BYTES:
            raise NotTranscodable(f"{tag_name(element.tag)} has {element.length} bytes")
        return self.take(element.length, self.end)

    def skip(self, element: Element, end: int, depth: int = 0) -> None:
        """Go behind an element, whatever is inside it."""
        if not element.is_undefined:
            self.seek(element.value + element.length)
            return
        self.check_depth(depth)
        fragments = element.is_fragments
        syntax = self.enter(element)
        while (item := self.mark(end)).tag != SEQUENCE_END:
            if not item.is_undefined:
                self.seek(item.value + item.length)
                continue
            if fragments:
                raise NotTranscodable(f"byte {item.begin}: a fragment without length")
            while (inner := self.inner(end)).tag != ITEM_END:
                self.skip(inner, end, depth + 1)
        self.syntax = syntax

    def mark(self, end: int) -> Element:
        """The next item, or the end of the sequence."""
        element = self.head(end)
        if element is None or element.tag not in {ITEM, SEQUENCE_END}:
            raise NotTranscodable(f"byte {self.position}: no item where one should be")
        return element

    def inner(self, end: int) -> Element:
        """The next element of an item that a delimiter ends."""
        element = self.head(end)
        if element is None or element.tag in {ITEM, SEQUENCE_END}:
            raise NotTranscodable(f"byte {self.position}: an item does not end")
        return element

    def enter(self, element: Element) -> ElementSyntax:
        """Turn to the syntax inside a sequence; the one to go back to."""
        before = self.syntax
        if element.is_implicit_inside:
            self.syntax = ElementSyntax.of(implicit=True, little_endian=True)
        return before

    def check_depth(self, depth: int) -> None:
        """Stop before sequences inside sequences use up the stack."""
        if depth >= self._limits.max_depth:
            raise NotTranscodable(
                f"sequences stand more than {self._limits.max_depth} deep inside one another"
            )

    def seek(self, position: int) -> None:
        """Go somewhere else."""
        self._file.seek(position)
        self.position = position
