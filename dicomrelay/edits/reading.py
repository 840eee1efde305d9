"""Reads a data set into a tree, to its last byte: what is not understood cannot be cleaned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO, Final

from dicomrelay.dicom.elements import (
    IMPLICIT_LITTLE_ENDIAN,
    UNDEFINED_LENGTH,
    ElementSyntax,
    has_long_form,
    looks_like_vr,
    tag_name,
)
from dicomrelay.edits.tree import PIXEL_GROUP, TEXT_VRS, Bulk, Item, Leaf, Node, Sequence, known_vr
from dicomrelay.errors import NotEditable

_ITEM: Final = 0xFFFEE000
_ITEM_END: Final = 0xFFFEE00D
_SEQUENCE_END: Final = 0xFFFEE0DD
_MARKS: Final = frozenset({_ITEM, _ITEM_END, _SEQUENCE_END})
_ITEM_HEAD_BYTES: Final = 8
_BULK_BYTES: Final = 1 << 16
_CHUNK_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class TreeLimits:
    """What a tree may cost, whoever wrote the data set.

    Attributes
    ----------
    max_elements : int
        Those in sequences too.
    max_depth : int
        Sequences inside one another.
    max_bytes : int
        Of the values that are held in memory.
    """

    max_elements: int = 2_000_000
    max_depth: int = 64
    max_bytes: int = 256 << 20


@dataclass(frozen=True, slots=True)
class _Head:
    tag: int
    vr: bytes
    length: int
    begin: int
    value: int


class TreeReader:
    """Reads one data set.

    Parameters
    ----------
    begin, end : int
        Where the data set lies in the file.

    Raises
    ------
    NotEditable
        Of `read`: the bytes are not what the syntax says, end early, say something twice, or pass a limit.
    OSError
        The file cannot be read.
    """

    def __init__(
        self, file: BinaryIO, *, begin: int, end: int, syntax: ElementSyntax, limits: TreeLimits
    ) -> None:
        self._file = file
        self._begin, self._end = begin, end
        self._syntax = syntax
        self._limits = limits
        self._position = begin
        self._elements = 0
        self._bytes = 0

    def read(self) -> Item:
        """The whole tree."""
        self._seek(self._begin)
        return self._item(self._syntax, self._end, 0, delimited=False)

    # ---- elements

    def _item(self, syntax: ElementSyntax, end: int, depth: int, *, delimited: bool) -> Item:
        found: dict[int, Node] = {}
        while (head := self._head(syntax, end)) is not None:
            if head.tag == _ITEM_END and delimited:
                return Item(found, is_undefined=True)
            if head.tag in _MARKS:
                raise NotEditable(f"byte {head.begin}: {tag_name(head.tag)} where an element should be")
            if head.tag in found:
                raise NotEditable(f"byte {head.begin}: {tag_name(head.tag)} stands twice")
            node = self._node(head, syntax, end, depth)
            if head.tag & 0xFFFF:  # a group length counts bytes that become others (PS3.5 Section 7.2)
                found[head.tag] = node
        if delimited:
            raise NotEditable(f"byte {self._position}: an item does not end")
        return Item(found)

    def _node(self, head: _Head, syntax: ElementSyntax, end: int, depth: int) -> Node:
        kind = head.vr if head.vr not in (b"", b"UN") else known_vr(head.tag)
        if head.length == UNDEFINED_LENGTH:
            if head.tag >> 16 == PIXEL_GROUP or head.vr in {b"OB", b"OW"}:
                return self._fragments(head, syntax)
            return self._sequence(head, syntax, end, depth)
        if kind == b"SQ" and not head.length:
            return Sequence(head.tag, head.vr, ())
        if kind == b"SQ" or (not kind and self._begins_as_items(head, syntax)):
            return self._sequence_or_leaf(head, syntax, depth)
        if head.length > _BULK_BYTES and kind not in TEXT_VRS:
            self._seek(head.value + head.length)
            return Bulk(head.tag, head.vr, head.value, head.length, is_undefined=False)
        return self._leaf(head)

    def _leaf(self, head: _Head) -> Leaf:
        self._bytes += head.length
        if self._bytes > self._limits.max_bytes:
            raise NotEditable(f"its values have more than {self._limits.max_bytes} bytes without the pixels")
        value = self._take(head.length, self._end)
        return Leaf(head.tag, head.vr, value + b"\0" if head.length % 2 else value)

    def _fragments(self, head: _Head, syntax: ElementSyntax) -> Bulk:
        """Encapsulated pixel data (PS3.5 Annex A.4)."""
        while (item := self._mark(syntax, self._end)).tag != _SEQUENCE_END:
            if item.length == UNDEFINED_LENGTH:
                raise NotEditable(f"byte {item.begin}: a fragment without length")
            self._seek(item.value + item.length)
        return Bulk(head.tag, head.vr, head.value, self._position - head.value, is_undefined=True)

    def _begins_as_items(self, head: _Head, syntax: ElementSyntax) -> bool:
        """Whether a value that nobody says the VR of, as a private one in implicit VR, begins as a sequence does."""
        if head.length < _ITEM_HEAD_BYTES:
            return False
        inside = IMPLICIT_LITTLE_ENDIAN if head.vr == b"UN" else syntax
        group, number = inside.head.unpack(self._take(_ITEM_HEAD_BYTES, self._end))[:2]
        self._seek(head.value)
        return bool(group << 16 | number == _ITEM)

    def _sequence_or_leaf(self, head: _Head, syntax: ElementSyntax, depth: int) -> Node:
        """One whose VR is not said and that holds no items is a leaf, which whoever has to look inside refuses."""
        try:
            return self._sequence(head, syntax, head.value + head.length, depth)
        except NotEditable:
            if head.vr == b"SQ":
                raise
            self._seek(head.value)
            return self._leaf(head)

    def _sequence(self, head: _Head, syntax: ElementSyntax, end: int, depth: int) -> Sequence:
        if depth >= self._limits.max_depth:
            raise NotEditable(f"sequences stand more than {self._limits.max_depth} deep inside one another")
        inside = IMPLICIT_LITTLE_ENDIAN if head.vr == b"UN" else syntax
        is_undefined = head.length == UNDEFINED_LENGTH
        items = []
        while is_undefined or self._position < end:
            item = self._mark(inside, end)
            if item.tag == _SEQUENCE_END:
                if is_undefined:
                    break
                continue
            if item.length == UNDEFINED_LENGTH:
                items.append(self._item(inside, end, depth + 1, delimited=True))
            else:
                items.append(self._item(inside, item.value + item.length, depth + 1, delimited=False))
        return Sequence(head.tag, head.vr, tuple(items), is_undefined)

    # ---- heads and bytes

    def _mark(self, syntax: ElementSyntax, end: int) -> _Head:
        head = self._head(syntax, end)
        if head is None or head.tag not in {_ITEM, _SEQUENCE_END}:
            raise NotEditable(f"byte {self._position}: no item where one should be")
        return head

    def _head(self, syntax: ElementSyntax, end: int) -> _Head | None:
        """The next head; None at `end`, or when nothing but zeros is left of the data set."""
        begin = self._position
        if begin >= end:
            return None
        data = self._take(8, end)
        if data == bytes(8) and end == self._end and self._only_zeros():
            return None
        self._elements += 1
        if self._elements > self._limits.max_elements:
            raise NotEditable(f"more than {self._limits.max_elements} data elements")
        group, number = syntax.head.unpack(data)[:2]
        tag = group << 16 | number
        vr, length = self._vr_and_length(tag, data, syntax, end)
        if length != UNDEFINED_LENGTH and self._position + length > end:
            raise NotEditable(
                f"byte {begin}: {tag_name(tag)} says {length} bytes, {end - self._position} are left"
            )
        if length == UNDEFINED_LENGTH and vr not in {b"", b"SQ", b"UN", b"OB", b"OW"}:
            raise NotEditable(f"byte {begin}: {tag_name(tag)} of VR {vr.decode()} has no length")
        return _Head(tag, vr, length, begin, self._position)

    def _vr_and_length(self, tag: int, data: bytes, syntax: ElementSyntax, end: int) -> tuple[bytes, int]:
        if syntax.implicit or tag in _MARKS:
            return b"", int(syntax.length.unpack_from(data, 4)[0])
        vr = data[4:6]
        if not looks_like_vr(vr):
            raise NotEditable(
                f"byte {self._position - 8}: {tag_name(tag)} has no VR, and its transfer syntax has"
            )
        if not has_long_form(vr, data[6:8]):
            return vr, int(syntax.head.unpack(data)[3])
        return vr, int(syntax.length.unpack(self._take(4, end))[0])

    def _only_zeros(self) -> bool:
        """Whether all that is left is zeros; else the position stays."""
        here = self._position
        while self._position < self._end:
            if any(self._take(min(_CHUNK_BYTES, self._end - self._position), self._end)):
                self._seek(here)
                return False
        return True

    def _take(self, count: int, end: int) -> bytes:
        if self._position + count > end:
            raise NotEditable(f"byte {self._position}: the data set ends inside an element")
        data = self._file.read(count)
        if len(data) != count:
            raise NotEditable(f"byte {self._position}: the file ends inside the data set")
        self._position += count
        return data

    def _seek(self, position: int) -> None:
        self._file.seek(position)
        self._position = position
