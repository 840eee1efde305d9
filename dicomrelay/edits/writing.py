"""Writes a tree in the syntax that it was read in; what nobody touched is the bytes that were read."""

from __future__ import annotations

import hashlib
import struct
from typing import BinaryIO, Final, TypeAlias

from dicomrelay.dicom.elements import (
    IMPLICIT_LITTLE_ENDIAN,
    SHORT_VRS,
    UNDEFINED_LENGTH,
    ElementSyntax,
    tag_name,
)
from dicomrelay.edits.tree import Bulk, Item, Leaf, Node
from dicomrelay.errors import NotEditable

_ITEM: Final = 0xFFFEE000
_ITEM_END: Final = 0xFFFEE00D
_SEQUENCE_END: Final = 0xFFFEE0DD
_LONGEST_SHORT: Final = 0xFFFE
_CHUNK_BYTES: Final = 1 << 20
# Bytes, and places in the source that are copied.
Piece: TypeAlias = bytes | Bulk
Pieces: TypeAlias = list[Piece]


def pieces_of(tree: Item, syntax: ElementSyntax) -> Pieces:
    """What the data set is written of, in order.

    Raises
    ------
    NotEditable
        A value is too long for its VR.
    """
    return _elements(tree, syntax)[0]


def write(pieces: Pieces, source: BinaryIO, out: BinaryIO) -> tuple[int, str]:
    """Write them; the length and SHA-256 of what was written.

    Raises
    ------
    NotEditable
        The source has become shorter.
    OSError
        A file cannot be read or written.
    """
    digest, length = hashlib.sha256(), 0
    for piece in pieces:
        if isinstance(piece, bytes):
            digest.update(piece)
            out.write(piece)
            length += len(piece)
            continue
        source.seek(piece.offset)
        left = piece.length
        while left:
            chunk = source.read(min(left, _CHUNK_BYTES))
            if not chunk:
                raise NotEditable(f"the file ends inside {tag_name(piece.tag)}")
            digest.update(chunk)
            out.write(chunk)
            left -= len(chunk)
        length += piece.length
        if piece.length % 2:
            digest.update(b"\0")
            out.write(b"\0")
            length += 1
    return length, digest.hexdigest()


def _elements(item: Item, syntax: ElementSyntax) -> tuple[Pieces, int]:
    pieces: Pieces = []
    total = 0
    for tag in sorted(item.elements):
        part, length = _element(item.elements[tag], syntax)
        pieces += part
        total += length
    return pieces, total


def _element(node: Node, syntax: ElementSyntax) -> tuple[Pieces, int]:
    if isinstance(node, Leaf):
        head = _head(node.tag, node.vr, len(node.value), syntax)
        return [head + node.value], len(head) + len(node.value)
    if isinstance(node, Bulk):
        even = node.length + (0 if node.is_undefined else node.length % 2)
        head = _head(node.tag, node.vr, UNDEFINED_LENGTH if node.is_undefined else even, syntax)
        return [head, node], len(head) + even
    inside = IMPLICIT_LITTLE_ENDIAN if node.vr == b"UN" else syntax
    pieces: Pieces = []
    total = 0
    for item in node.items:
        part, length = _item(item, inside)
        pieces += part
        total += length
    if node.is_undefined:
        end = _mark(_SEQUENCE_END, 0, inside)
        head = _head(node.tag, node.vr, UNDEFINED_LENGTH, syntax)
        return [head, *pieces, end], len(head) + total + len(end)
    if total >= UNDEFINED_LENGTH:
        raise NotEditable(f"{tag_name(node.tag)} becomes too long")
    head = _head(node.tag, node.vr, total, syntax)
    return [head, *pieces], len(head) + total


def _item(item: Item, syntax: ElementSyntax) -> tuple[Pieces, int]:
    pieces, length = _elements(item, syntax)
    if item.is_undefined:
        head, end = _mark(_ITEM, UNDEFINED_LENGTH, syntax), _mark(_ITEM_END, 0, syntax)
        return [head, *pieces, end], len(head) + length + len(end)
    head = _mark(_ITEM, length, syntax)
    return [head, *pieces], len(head) + length


def _head(tag: int, vr: bytes, length: int, syntax: ElementSyntax) -> bytes:
    order = syntax.head.format[:1]
    group, number = tag >> 16, tag & 0xFFFF
    if syntax.implicit:
        return struct.pack(order + "HHI", group, number, length)
    if vr in SHORT_VRS:
        if length > _LONGEST_SHORT:
            raise NotEditable(f"{tag_name(tag)} becomes too long for its VR")
        return struct.pack(order + "HH2sH", group, number, vr, length)
    return struct.pack(order + "HH2sHI", group, number, vr, 0, length)


def _mark(tag: int, length: int, syntax: ElementSyntax) -> bytes:
    return struct.pack(syntax.head.format[:1] + "HHI", tag >> 16, tag & 0xFFFF, length)
