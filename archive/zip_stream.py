"""A ZIP file that is written front to back, never going back, and whose length is known before (PKWARE APPNOTE 6.3.10).

An entry is a deflate stream of stored blocks (RFC 1951 Section 3.2.4): unlike a stored entry it may have its CRC behind it
(bit 3) for every reader, and unlike a compressed one it has a length that follows from its size.
"""

from __future__ import annotations

import struct
import tempfile
import zlib
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from archive.zip_records import (
    DEFLATED,
    LARGEST,
    UTF_8,
    Kind,
    central_header,
    end_of_directory,
    local_header,
    local_header_bytes,
)
from dicomrelay.errors import ArchiveError

_DESCRIPTOR: Final = struct.Struct("<4s3L")
_DESCRIPTOR_64: Final = struct.Struct("<4sL2Q")
_BLOCK: Final = struct.Struct("<B2H")
_LARGEST_BLOCK: Final = 0xFFFF
# Sizes and CRC behind the data.
_FLAGS: Final = UTF_8 | 0x0008
# 1 January 1980: the same entries are the same bytes, whenever they are sent.
_DATE_TIME: Final = (0, 1 << 5 | 1)
_STEP_BYTES: Final = 1 << 16
_SPOOLED_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class ZipEntry:
    """What is to be written: its path with slashes, and how many bytes will come."""

    name: str
    size: int

    @property
    def packed(self) -> int:
        """Bytes of the deflate stream."""
        return self.size + _BLOCK.size * max(1, -(-self.size // _LARGEST_BLOCK))

    @property
    def is_large(self) -> bool:
        """Whether its sizes need 64 bits."""
        return self.packed >= LARGEST

    @property
    def length(self) -> int:
        """Bytes in front of the central directory."""
        header = local_header_bytes(self.name.encode(), is_large=self.is_large)
        return header + self.packed + (_DESCRIPTOR_64 if self.is_large else _DESCRIPTOR).size

    def directory_length(self, offset: int) -> int:
        """Bytes in the central directory, for an entry that begins at that offset."""
        return len(self.central_header(offset, 0))

    def local_header(self) -> bytes:
        """In front of the data."""
        return local_header(self._kind, self.name.encode())

    def descriptor(self, crc: int) -> bytes:
        """Behind the data."""
        form = _DESCRIPTOR_64 if self.is_large else _DESCRIPTOR
        return form.pack(b"PK\7\x08", crc, self.packed, self.size)

    def central_header(self, offset: int, crc: int) -> bytes:
        """In the central directory."""
        name = self.name.encode()
        return central_header(self._kind, name, crc=crc, size=self.size, packed=self.packed, offset=offset)

    @property
    def _kind(self) -> Kind:
        return Kind(_FLAGS, DEFLATED, _DATE_TIME, self.is_large)


def zip_length(entries: Iterable[ZipEntry]) -> int:
    """How many bytes a ZIP file of these will have."""
    offset = directory = count = 0
    for entry in entries:
        directory += entry.directory_length(offset)
        offset += entry.length
        count += 1
    return offset + directory + len(_end(count, offset, directory))


def zip_stream(entries: Iterable[tuple[ZipEntry, Iterable[bytes]]]) -> Iterator[bytes]:
    """The bytes of a ZIP file, in constant memory.

    Raises
    ------
    ArchiveError
        Another number of bytes came than an entry announced. Whatever the chunks raise goes through.
    """
    offset = count = 0
    with tempfile.SpooledTemporaryFile(_SPOOLED_BYTES) as directory:
        for entry, chunks in entries:
            yield entry.local_header()
            crc = yield from _blocks(entry, chunks)
            yield entry.descriptor(crc)
            directory.write(entry.central_header(offset, crc))
            offset += entry.length
            count += 1
        size = directory.tell()
        directory.seek(0)
        while step := directory.read(_STEP_BYTES):
            yield step
        yield _end(count, offset, size)


def _blocks(entry: ZipEntry, chunks: Iterable[bytes]) -> Generator[bytes, None, int]:
    """The deflate stream: full blocks, the last one marked. Returns the CRC."""
    crc = 0
    left = entry.size
    pending = bytearray()
    if not left:
        yield _BLOCK.pack(1, 0, 0xFFFF)
    for chunk in chunks:
        crc = zlib.crc32(chunk, crc)
        left -= len(chunk)
        if left < 0:
            break
        pending += chunk
        made = bytearray()
        while len(pending) >= _LARGEST_BLOCK or (pending and not left):
            size = min(len(pending), _LARGEST_BLOCK)
            is_last = not left and size == len(pending)
            made += _BLOCK.pack(is_last, size, size ^ 0xFFFF)
            made += pending[:size]
            del pending[:size]
        if made:
            yield bytes(made)
    if left:
        raise ArchiveError(f"{entry.name}: {entry.size - left} bytes came where {entry.size} were announced")
    return crc


def _end(count: int, offset: int, size: int) -> bytes:
    return end_of_directory(count, offset=offset, size=size, is_large=max(offset, size) >= LARGEST)
