"""A DICOMDIR, written record by record in constant memory (PS3.3 Annex F, PS3.10 Section 8.6).

Knows bytes: what a record says is made in `directory_records`. Records point at one another by offsets from the first
byte of the file, so each is written once and its pointers are filled in when what they point at is written.
"""

from __future__ import annotations

import struct
from typing import BinaryIO, Final

from dicomrelay.dicom.part10 import MEDIA_STORAGE_DIRECTORY, FileMeta, encode_file_meta
from dicomrelay.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from dicomrelay.errors import ArchiveError

DICOMDIR: Final = "DICOMDIR"
_LEVELS: Final = 4
_ITEM: Final = struct.Struct("<HHL")
_UL: Final = struct.Struct("<HH2sHL")
_US: Final = struct.Struct("<HH2sHH")
_OFFSET: Final = struct.Struct("<L")
_IN_USE: Final = 0xFFFF
# Where the values of (0004,1400) and (0004,1420) stand in an item: behind its head, they are first and third.
_NEXT_AT: Final = _ITEM.size + 8
_LOWER_AT: Final = _ITEM.size + _UL.size + _US.size + 8
_POINTERS: Final = (
    _UL.pack(0x0004, 0x1400, b"UL", 4, 0)
    + _US.pack(0x0004, 0x1410, b"US", 2, _IN_USE)
    + _UL.pack(0x0004, 0x1420, b"UL", 4, 0)
)
_LARGEST: Final = 0xFFFFFFFF


class DirectoryWriter:
    """Writes a DICOMDIR to an empty file that can be positioned. Call `finish` at the end.

    Parameters
    ----------
    file : BinaryIO
    file_set_uid : str
        Media Storage SOP Instance UID of the DICOMDIR (PS3.10 Section 8.6).
    file_set_id : str
        File-set ID (0004,1130): at most 16 characters of `A-Z0-9_` and space; "" for none.
    """

    def __init__(self, file: BinaryIO, *, file_set_uid: str, file_set_id: str = "") -> None:
        self._file = file
        name = file_set_id.encode("ascii")
        name += b" " * (len(name) % 2)
        head = encode_file_meta(
            FileMeta(
                sop_class_uid=MEDIA_STORAGE_DIRECTORY,
                sop_instance_uid=file_set_uid,
                transfer_syntax_uid=EXPLICIT_VR_LITTLE_ENDIAN,
            )
        )
        head += struct.pack("<HH2sH", 0x0004, 0x1130, b"CS", len(name)) + name
        self._first_at = len(head) + 8
        head += _UL.pack(0x0004, 0x1200, b"UL", 4, 0)
        self._last_at = len(head) + 8
        head += _UL.pack(0x0004, 0x1202, b"UL", 4, 0)
        head += _US.pack(0x0004, 0x1212, b"US", 2, 0)
        head += struct.pack("<HH2sHL", 0x0004, 0x1220, b"SQ", 0, _LARGEST)
        file.write(head)
        self._end = len(head)
        # The last record of each level that is open, from the top.
        self._last: list[int] = []
        self._last_of_root = 0
        self.records = 0

    def add(self, level: int, elements: bytes) -> None:
        """Write a record behind the others: the next sibling, or the first child of the last record of the level above.

        Parameters
        ----------
        level : int
            0 for the root directory entity, at most one more than that of the last record, and at most 3.
        elements : bytes
            The record from Directory Record Type (0004,1430) on, in explicit VR little endian.

        Raises
        ------
        ArchiveError
            The DICOMDIR would be of 4 GiB or more: its offsets cannot say so.
        """
        if not 0 <= level <= min(len(self._last), _LEVELS - 1):
            raise ValueError(f"a record of level {level} below {len(self._last)} open ones")
        at = self._end
        if at + len(elements) + 1024 > _LARGEST:
            raise ArchiveError("a DICOMDIR of 4 GiB or more cannot be: export less at once")
        if level < len(self._last):
            self._point(self._last[level] + _NEXT_AT, at)
        elif level:
            self._point(self._last[level - 1] + _LOWER_AT, at)
        else:
            self._point(self._first_at, at)
        del self._last[level:]
        self._last.append(at)
        if level == 0:
            self._last_of_root = at
        self._file.write(_ITEM.pack(0xFFFE, 0xE000, len(_POINTERS) + len(elements)) + _POINTERS + elements)
        self._end = self._file.tell()
        self.records += 1

    def finish(self) -> int:
        """Write the end, and return how many bytes there are in all."""
        self._point(self._last_at, self._last_of_root)
        self._file.write(_ITEM.pack(0xFFFE, 0xE0DD, 0))
        self._file.flush()
        return self._file.tell()

    def _point(self, where: int, at: int) -> None:
        """Fill in a pointer; the file stands at its end afterwards."""
        self._file.seek(where)
        self._file.write(_OFFSET.pack(at))
        self._file.seek(self._end)
