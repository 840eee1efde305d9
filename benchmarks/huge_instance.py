"""A multi-frame instance of any size, as a sparse file: frames of a million zeros, each a fragment of its own.

A value of known length ends at 4 GiB, so what is larger is encapsulated (PS3.5 Annex A.4). Nobody here decodes a frame.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from dicomrelay.dicom.part10 import FileMeta, encode_file_meta, parse_file_meta

SOP_CLASS_UID = "1.2.840.10008.5.1.4.1.1.7.4"  # Multi-frame True Color Secondary Capture Image Storage
SOP_INSTANCE_UID = "1.2.826.0.1.3680043.8.498.1"
JPEG_LS_LOSSLESS = "1.2.840.10008.1.2.4.80"
FRAME_BYTES = 1_000_000

_ITEM = struct.pack("<HHI", 0xFFFE, 0xE000, FRAME_BYTES)
_CHUNK_BYTES = 1 << 20


def write(path: Path, size_bytes: int) -> None:
    """A file of about `size_bytes`, that takes a block of the disk for each frame."""
    frames = max(1, size_bytes // (FRAME_BYTES + len(_ITEM)))
    with path.open("wb") as out:
        out.write(encode_file_meta(FileMeta(SOP_CLASS_UID, SOP_INSTANCE_UID, JPEG_LS_LOSSLESS)))
        out.write(_header(frames))
        for _ in range(frames):
            out.write(_ITEM)
            out.seek(FRAME_BYTES, 1)
        out.write(struct.pack("<HHI", 0xFFFE, 0xE0DD, 0))


def data_set_of(path: Path) -> tuple[int, int]:
    """Length and CRC-32 of the data set of a file, read in pieces."""
    with path.open("rb") as file:
        offset = parse_file_meta(file.read(4096)).data_set_offset
        file.seek(offset)
        length = crc = 0
        while chunk := file.read(_CHUNK_BYTES):
            length += len(chunk)
            crc = zlib.crc32(chunk, crc)
    return length, crc


def _header(frames: int) -> bytes:
    uids = {0x00080016: SOP_CLASS_UID, 0x00080018: SOP_INSTANCE_UID}
    later = {0x0020000D: f"{SOP_INSTANCE_UID}.2", 0x0020000E: f"{SOP_INSTANCE_UID}.3"}
    side = struct.pack("<H", 1000)
    return b"".join(
        (
            *(_short(tag, b"UI", uid.encode("ascii"), b"\0") for tag, uid in uids.items()),
            _short(0x00080060, b"CS", b"OT", b" "),
            _short(0x00100010, b"PN", b"BENCH^MARK", b" "),
            _short(0x00100020, b"LO", b"P1", b" "),
            *(_short(tag, b"UI", uid.encode("ascii"), b"\0") for tag, uid in later.items()),
            _short(0x00280002, b"US", struct.pack("<H", 1), b""),
            _short(0x00280004, b"CS", b"MONOCHROME2", b" "),
            _short(0x00280008, b"IS", str(frames).encode("ascii"), b" "),
            _short(0x00280010, b"US", side, b""),
            _short(0x00280011, b"US", side, b""),
            _short(0x00280100, b"US", struct.pack("<H", 8), b""),
            _short(0x00280101, b"US", struct.pack("<H", 8), b""),
            _short(0x00280102, b"US", struct.pack("<H", 7), b""),
            _short(0x00280103, b"US", struct.pack("<H", 0), b""),
            struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF),
            struct.pack("<HHI", 0xFFFE, 0xE000, 0),  # a Basic Offset Table without entries
        )
    )


def _short(tag: int, vr: bytes, value: bytes, padding: bytes) -> bytes:
    value += padding * (len(value) % 2)
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value
