"""Writes elements into a file, and lengths that are known only later."""

from __future__ import annotations

import hashlib
import os
import struct
from array import array
from typing import BinaryIO, Final

from dicomrelay.dicom.elements import SHORT_VRS, ElementSyntax
from dicomrelay.transcode.representations import padding

_PATCHES: Final = 4096
_CHUNK_BYTES: Final = 1 << 20
_CODES: Final = {2: "H", 4: "I", 8: "Q"}


def swapped(data: bytes, number_bytes: int) -> bytes:
    """The same numbers in the other byte order."""
    numbers = array(_CODES[number_bytes], data)
    numbers.byteswap()
    return numbers.tobytes()


class Writer:
    """A file that grows at its end; a length can be filled in behind."""

    def __init__(self, file: BinaryIO, syntax: ElementSyntax) -> None:
        self.syntax = syntax
        self.position = 0
        self._file = file
        self._patches: list[tuple[int, bytes]] = []

    @property
    def is_little_endian(self) -> bool:
        """Whether the least significant byte comes first."""
        return self.syntax.head.format.startswith("<")

    def write(self, data: bytes) -> None:
        """Bytes as they are."""
        self._file.write(data)
        self.position += len(data)

    def head(self, tag: int, vr: bytes, length: int) -> int:
        """The head of an element; where its length stands, for `fill`."""
        order = "<" if self.is_little_endian else ">"
        group, number = tag >> 16, tag & 0xFFFF
        if self.syntax.implicit or not vr:
            self.write(struct.pack(order + "HHI", group, number, length))
        elif vr in SHORT_VRS:
            self.write(struct.pack(order + "HH2sH", group, number, vr, length))
        else:
            self.write(struct.pack(order + "HH2sHI", group, number, vr, 0, length))
        return self.position - 4

    def element(self, tag: int, vr: bytes, value: bytes) -> None:
        """A whole short element, made even; `value` is in our byte order."""
        if len(value) % 2:
            value += padding(vr)
        self.head(tag, vr, len(value))
        self.write(value)

    def fill(self, at: int, length: int) -> None:
        """Write a 32-bit number at a place that was passed."""
        order = "<" if self.is_little_endian else ">"
        self._patches.append((at, struct.pack(order + "I", length)))
        if len(self._patches) >= _PATCHES:
            self._apply()

    def finish(self) -> None:
        """All is in the file."""
        self._apply()

    def _apply(self) -> None:
        self._file.flush()
        for at, data in self._patches:
            os.pwrite(self._file.fileno(), data, at)
        self._patches.clear()


def digest_of(file: BinaryIO) -> str:
    """SHA-256 of a whole file."""
    digest = hashlib.sha256()
    file.seek(0)
    while chunk := file.read(_CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()
