"""Records as bytes: the header of 40 bytes that docs/design/streams.md specifies. Knows bytes only; both ends use it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

VERSION: Final = 1
SUBPROTOCOL: Final = "dicomrelay.streams.1"
MEDIA_TYPE: Final = "application/vnd.dicomrelay.streams"
PIECE_BYTES: Final = 262_144
LARGEST_WORDS_BYTES: Final = 16 * 1024 * 1024
LARGEST_ID: Final = 0xFFFF_FFFF

_HEADER: Final = struct.Struct("<BBHIIIIIQQ")
HEADER_BYTES: Final = _HEADER.size
PIECE: Final = 1
WORDS: Final = 2
_LAST: Final = 1


class WireError(ValueError):
    """Bytes that are no record of this version."""


@dataclass(frozen=True, slots=True)
class RecordHeader:
    """The header of a record.

    Attributes
    ----------
    kind : int
        `PIECE` or `WORDS`.
    is_last : bool
        Whether the frame ends with this piece.
    payload_bytes : int
        What follows the header.
    request_id, position, row, frame_number : int
        Which frame of which request; positions and rows are counted from 0, frames from 1. All 0 for words.
    offset, frame_bytes : int
        Where in the frame the piece begins, and how many bytes the frame has.
    """

    kind: int
    payload_bytes: int
    is_last: bool = False
    request_id: int = 0
    position: int = 0
    row: int = 0
    frame_number: int = 0
    offset: int = 0
    frame_bytes: int = 0

    def pack_into(self, buffer: bytearray) -> None:
        """Write it to the first 40 bytes of a buffer."""
        flags = _LAST if self.is_last else 0
        _HEADER.pack_into(
            buffer, 0, self.kind, flags, VERSION, self.payload_bytes, self.request_id, self.position,
            self.row, self.frame_number, self.offset, self.frame_bytes,
        )  # fmt: skip


def words_record(words: bytes) -> bytes:
    """A record that carries words."""
    buffer = bytearray(HEADER_BYTES)
    RecordHeader(WORDS, len(words)).pack_into(buffer)
    return bytes(buffer) + words


def decode_header(data: bytes | bytearray | memoryview) -> RecordHeader:
    """The header at the start of a record.

    Raises
    ------
    WireError
        Too few bytes, another version or kind, or more payload than a record may have.
    """
    if len(data) < HEADER_BYTES:
        raise WireError(f"a record has a header of {HEADER_BYTES} bytes; {len(data)} came")
    kind, flags, version, size, request_id, position, row, number, offset, whole = _HEADER.unpack_from(data)
    if version != VERSION:
        raise WireError(f"a record of version {version} came; this program reads {VERSION}")
    limit = {PIECE: PIECE_BYTES, WORDS: LARGEST_WORDS_BYTES}.get(kind)
    if limit is None:
        raise WireError(f"a record of kind {kind} came: there are {PIECE} (piece) and {WORDS} (words)")
    if size > limit:
        raise WireError(f"a record announces {size} bytes of payload; at most {limit} are allowed")
    is_last = bool(flags & _LAST)
    if kind == PIECE and (offset + size > whole or is_last != (offset + size == whole)):
        raise WireError(
            f"a piece of {size} bytes at {offset} does not fit its frame of {whole} bytes"
            f"{' that ends with it' if is_last else ''}"
        )
    return RecordHeader(kind, size, is_last, request_id, position, row, number, offset, whole)
