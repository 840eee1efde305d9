"""A ZIP file, written front to back in constant memory (PKWARE APPNOTE 6.3.10).

The central directory is collected in a temporary file: the standard library's writer keeps an object for each entry.
"""

from __future__ import annotations

import shutil
import tempfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import BinaryIO, Final

from archive.zip_records import (
    DEFLATED,
    LARGEST,
    STORED,
    UTF_8,
    Kind,
    central_header,
    end_of_directory,
    local_header,
)
from dicomrelay.errors import ConfigurationError

# The fastest: pixels shrink by hardly more at the others.
_LEVEL: Final = 1
# Deflate adds at most 5 bytes to 16 kB, so what is announced smaller than this never needs 64 bits.
_SMALL: Final = 0xF0000000
_EARLIEST, _LATEST = datetime(1980, 1, 1, tzinfo=UTC), datetime(2107, 12, 31, 23, 59, 58, tzinfo=UTC)


@dataclass(slots=True)
class _Entry:
    """What the headers of an entry say."""

    name: bytes
    kind: Kind
    offset: int
    crc: int = 0
    size: int = 0
    packed: int = 0

    def local_header(self) -> bytes:
        return local_header(self.kind, self.name, crc=self.crc, size=self.size, packed=self.packed)

    def central_header(self) -> bytes:
        return central_header(
            self.kind, self.name, crc=self.crc, size=self.size, packed=self.packed, offset=self.offset
        )


class ZipWriter:
    """Writes entries to a new file that can be positioned. Call `finish`, then leave it as a context manager.

    Parameters
    ----------
    file : BinaryIO
        Empty, at its beginning.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._directory = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        self.entries = 0

    def add(
        self, name: str, chunks: Iterable[bytes], *, size: int, modified_s: float, deflate: bool = True
    ) -> None:
        """Write an entry. Whatever `chunks` raises goes through, and the entry is cut off again.

        Parameters
        ----------
        name : str
            Its path, with slashes.
        size : int
            How many bytes are to come, about; those of 4 GiB and more need to know.
        modified_s : float
            Seconds since the epoch; written in UTC, two seconds exact.

        Raises
        ------
        ConfigurationError
            A name of more than 65,535 bytes, or many more bytes came than announced.
        OSError
            It cannot be written.
        """
        start = self._file.tell()
        method = DEFLATED if deflate else STORED
        entry = _Entry(_name(name), Kind(UTF_8, method, _dos_time(modified_s), size >= _SMALL), start)
        try:
            self._file.write(entry.local_header())
            self._pack(entry, chunks)
            if not entry.kind.is_large and max(entry.size, entry.packed) >= LARGEST:
                raise ConfigurationError(f"{entry.size} bytes came where {size} were announced")
            end = self._file.tell()
            self._file.seek(start)
            self._file.write(entry.local_header())
            self._file.seek(end)
            self._directory.write(entry.central_header())
        except BaseException:
            self._file.seek(start)
            self._file.truncate()
            raise
        self.entries += 1

    def _pack(self, entry: _Entry, chunks: Iterable[bytes]) -> None:
        packer = (
            zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
            if entry.kind.method == DEFLATED
            else None
        )
        for chunk in chunks:
            entry.crc = zlib.crc32(chunk, entry.crc)
            entry.size += len(chunk)
            entry.packed += self._file.write(packer.compress(chunk) if packer else chunk)
        if packer:
            entry.packed += self._file.write(packer.flush())

    def finish(self) -> None:
        """Write the central directory. Raises OSError."""
        offset = self._file.tell()
        size = self._directory.tell()
        self._directory.seek(0)
        shutil.copyfileobj(self._directory, self._file, 1 << 20)
        is_large = offset + size >= LARGEST
        self._file.write(end_of_directory(self.entries, offset=offset, size=size, is_large=is_large))
        self._file.flush()

    def __enter__(self) -> ZipWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._directory.close()


def _name(name: str) -> bytes:
    encoded = name.encode()
    if not 0 < len(encoded) <= 0xFFFF:
        raise ConfigurationError(f"a name of {len(encoded)} bytes in a ZIP file")
    return encoded


def _dos_time(modified_s: float) -> tuple[int, int]:
    """Time and date as ZIP has them: from 1980, two seconds exact."""
    when = min(max(datetime.fromtimestamp(modified_s, UTC), _EARLIEST), _LATEST)
    return (
        when.hour << 11 | when.minute << 5 | when.second // 2,
        (when.year - 1980) << 9 | when.month << 5 | when.day,
    )
