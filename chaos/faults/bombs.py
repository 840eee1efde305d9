"""Data sets that are small on the wire and endless inside."""

from __future__ import annotations

import struct
import uuid
import zlib
from typing import Final

from chaos.instances import encode_data_set
from dicomrelay.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN

DEFLATED: Final = "1.2.840.10008.1.2.1.99"
_JPEG: Final = "1.2.840.10008.1.2.4.50"
_MEGABYTE: Final = 1 << 20


def made_of_nothing() -> dict[str, tuple[str, str, bytes]]:
    """Name to UID, transfer syntax and data set."""
    found = {}
    for name in ("deflated", "deep", "frames", "jpeg", "fragments"):
        uid = f"2.25.{uuid.uuid4().int}"
        found[name] = (uid, EXPLICIT_VR_LITTLE_ENDIAN, encode_data_set(uid, f"{uid}.1"[:64], b"\0\0"))
    uid, _, head = found["deflated"]
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    packed = (
        packer.compress(head)
        + b"".join(packer.compress(bytes(_MEGABYTE)) for _ in range(1024))
        + packer.flush()
    )
    found["deflated"] = (uid, DEFLATED, packed + b"\0" * (len(packed) & 1))
    uid, syntax, head = found["deep"]
    level = struct.pack("<HH2sHI", 0x4001, 0x1140, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    found["deep"] = (uid, syntax, head + level * 100_000)
    uid, syntax, head = found["frames"]
    short = encode_data_set(uid, f"{uid}.1"[:64], bytes(10))
    frames = struct.pack("<HH2sH", 0x0028, 0x0008, b"IS", 10) + b"2147483647"
    found["frames"] = (uid, syntax, _before(short, 0x00280010, frames))
    uid, _, head = found["jpeg"]
    picture = (
        b"\xff\xd8\xff\xc0\0\x0b\x08\xff\xff\xff\xff\x01\x01\x11\0\xff\xda\0\x08\x01\x01\0\0\x3f\0"
        + bytes(64)
        + b"\xff\xd9"
    )
    found["jpeg"] = (uid, _JPEG, _encapsulated([picture + bytes(len(picture) & 1)], uid))
    uid, _, head = found["fragments"]
    found["fragments"] = (uid, _JPEG, _encapsulated([b""] * 500_000, uid))
    return found


def _before(data_set: bytes, tag: int, element: bytes) -> bytes:
    """With an element put in before another one, or at the end."""
    at = data_set.find(struct.pack("<HH", tag >> 16, tag & 0xFFFF))
    return data_set[:at] + element + data_set[at:] if at >= 0 else data_set + element


def _encapsulated(fragments: list[bytes], uid: str) -> bytes:
    whole = encode_data_set(uid, f"{uid}.1"[:64], b"\0\0")
    head = whole[: whole.find(struct.pack("<HH", 0x7FE0, 0x0010))]
    item = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(each)) + each for each in [b"", *fragments])
    return (
        head
        + struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF)
        + item
        + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    )
