"""A ZIP file, written front to back in constant memory (PKWARE APPNOTE 6.3.10).

The central directory is collected in a temporary file: the standard library's writer keeps an object for each entry.
"""

from __future__ import annotations

import shutil
import struct
import tempfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import BinaryIO, Final

from dicomrelay.errors import ConfigurationError

_LOCAL: Final = struct.Struct("<4s5H3L2H")
_CENTRAL: Final = struct.Struct("<4s6H3L5H2L")
_END: Final = struct.Struct("<4s4H2LH")
_END_64: Final = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_64: Final = struct.Struct("<4sLQL")
_EXTRA_64: Final = 0x0001
_LARGEST: Final = 0xFFFFFFFF
_MOST_ENTRIES: Final = 0xFFFF
_STORED, _DEFLATED = 0, 8
_VERSION, _VERSION_64 = 20, 45
_UNIX: Final = 3 << 8
_PRIVATE_FILE: Final = 0o100600 << 16
_UTF_8: Final = 0x0800
# The fastest: pixels shrink by hardly more at the others.
_LEVEL: Final = 1
# Deflate adds at most 5 bytes to 16 kB, so what is announced smaller than this never needs 64 bits.
_SMALL: Final = 0xF0000000
_EARLIEST, _LATEST = datetime(1980, 1, 1, tzinfo=UTC), datetime(2107, 12, 31, 23, 59, 58, tzinfo=UTC)


@dataclass(slots=True)
class _Entry:
    """What the headers of an entry say."""

    name: bytes
    method: int
    date_time: tuple[int, int]
    offset: int
    is_large: bool
    crc: int = 0
    size: int = 0
    packed: int = 0

    def local_header(self) -> bytes:
        extra = b""
        size, packed = self.size, self.packed
        if self.is_large:
            extra = struct.pack("<2H2Q", _EXTRA_64, 16, size, packed)
            size = packed = _LARGEST
        version = _VERSION_64 if self.is_large else _VERSION
        return (
            _LOCAL.pack(
                b"PK\3\4", version, _UTF_8, self.method, *self.date_time,
                self.crc, packed, size, len(self.name), len(extra),
            )
            + self.name
            + extra
        )  # fmt: skip

    def central_header(self) -> bytes:
        values = []
        fields = []
        for value in (self.size, self.packed, self.offset):
            is_large = value >= _LARGEST
            fields.append(_LARGEST if is_large else value)
            if is_large:
                values.append(value)
        extra = struct.pack(f"<2H{len(values)}Q", _EXTRA_64, 8 * len(values), *values) if values else b""
        version = _VERSION_64 if extra or self.is_large else _VERSION
        size, packed, offset = fields
        return (
            _CENTRAL.pack(
                b"PK\1\2", _UNIX | version, version, _UTF_8, self.method, *self.date_time,
                self.crc, packed, size, len(self.name), len(extra), 0, 0, 0, _PRIVATE_FILE, offset,
            )
            + self.name
            + extra
        )  # fmt: skip


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
        method = _DEFLATED if deflate else _STORED
        entry = _Entry(_name(name), method, _dos_time(modified_s), start, size >= _SMALL)
        try:
            self._file.write(entry.local_header())
            self._pack(entry, chunks)
            if not entry.is_large and max(entry.size, entry.packed) >= _LARGEST:
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
            zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS) if entry.method == _DEFLATED else None
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
        if self.entries >= _MOST_ENTRIES or offset + size >= _LARGEST:
            end_64 = self._file.tell()
            self._file.write(
                _END_64.pack(
                    b"PK\6\6", _END_64.size - 12, _UNIX | _VERSION_64, _VERSION_64, 0, 0,
                    self.entries, self.entries, size, offset,
                )
            )  # fmt: skip
            self._file.write(_LOCATOR_64.pack(b"PK\6\7", 0, end_64, 1))
        entries = min(self.entries, _MOST_ENTRIES)
        self._file.write(
            _END.pack(b"PK\5\6", 0, 0, entries, entries, min(size, _LARGEST), min(offset, _LARGEST), 0)
        )
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
