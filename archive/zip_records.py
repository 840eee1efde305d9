"""The records of a ZIP file but its data (PKWARE APPNOTE 6.3.10 Section 4.3), for those who write it and those who stream it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

STORED, DEFLATED = 0, 8
UTF_8: Final = 0x0800
LARGEST: Final = 0xFFFFFFFF
MOST_ENTRIES: Final = 0xFFFF

_LOCAL: Final = struct.Struct("<4s5H3L2H")
_CENTRAL: Final = struct.Struct("<4s6H3L5H2L")
_END: Final = struct.Struct("<4s4H2LH")
_END_64: Final = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_64: Final = struct.Struct("<4sLQL")
_EXTRA_64: Final = 0x0001
_LOCAL_EXTRA: Final = struct.Struct("<2H2Q")
_VERSION, _VERSION_64 = 20, 45
_UNIX: Final = 3 << 8
_PRIVATE_FILE: Final = 0o100600 << 16


@dataclass(frozen=True, slots=True)
class Kind:
    """What every entry of a file has alike, or one entry for itself.

    Attributes
    ----------
    flags : int
        General purpose bits (Section 4.4.4).
    method : int
        `STORED` or `DEFLATED`.
    date_time : tuple of int
        Time and date as MS-DOS has them.
    is_large : bool
        Whether the sizes behind the local header are of 64 bits.
    """

    flags: int
    method: int
    date_time: tuple[int, int]
    is_large: bool


def local_header(kind: Kind, name: bytes, *, crc: int = 0, size: int = 0, packed: int = 0) -> bytes:
    """In front of the data (Section 4.3.7); zeros where the sizes stand behind it."""
    extra = b""
    if kind.is_large:
        extra = _LOCAL_EXTRA.pack(_EXTRA_64, 16, size, packed)
        size = packed = LARGEST
    version = _VERSION_64 if kind.is_large else _VERSION
    return (
        _LOCAL.pack(
            b"PK\3\4", version, kind.flags, kind.method, *kind.date_time, crc, packed, size, len(name), len(extra)
        )
        + name
        + extra
    )  # fmt: skip


def local_header_bytes(name: bytes, *, is_large: bool) -> int:
    """How long `local_header` is."""
    return _LOCAL.size + len(name) + (_LOCAL_EXTRA.size if is_large else 0)


def central_header(kind: Kind, name: bytes, *, crc: int, size: int, packed: int, offset: int) -> bytes:
    """In the central directory (Section 4.3.12); what does not fit into 32 bits is in the extra field (4.5.3)."""
    values = [value for value in (size, packed, offset) if value >= LARGEST]
    extra = struct.pack(f"<2H{len(values)}Q", _EXTRA_64, 8 * len(values), *values) if values else b""
    version = _VERSION_64 if extra or kind.is_large else _VERSION
    size, packed, offset = (min(value, LARGEST) for value in (size, packed, offset))
    return (
        _CENTRAL.pack(
            b"PK\1\2", _UNIX | version, version, kind.flags, kind.method, *kind.date_time,
            crc, packed, size, len(name), len(extra), 0, 0, 0, _PRIVATE_FILE, offset,
        )
        + name
        + extra
    )  # fmt: skip


def end_of_directory(entries: int, *, offset: int, size: int, is_large: bool) -> bytes:
    """Behind the central directory (Sections 4.3.14 to 4.3.16).

    Parameters
    ----------
    offset, size : int
        Where the directory begins, and its bytes.
    is_large : bool
        Whether the record of 64 bits stands before it for the sake of offset or size; many entries have it anyhow.
    """
    end = b""
    if is_large or entries >= MOST_ENTRIES:
        end = _END_64.pack(
            b"PK\6\6", _END_64.size - 12, _UNIX | _VERSION_64, _VERSION_64, 0, 0, entries, entries, size, offset
        ) + _LOCATOR_64.pack(b"PK\6\7", 0, offset + size, 1)  # fmt: skip
    entries = min(entries, MOST_ENTRIES)
    return end + _END.pack(b"PK\5\6", 0, 0, entries, entries, min(size, LARGEST), min(offset, LARGEST), 0)
