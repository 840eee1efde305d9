"""Data sets built element by element, for the tests of scan, file meta and spool."""

from __future__ import annotations

import csv
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.70"
UNDEFINED = 0xFFFFFFFF
_LONG = {b"OB", b"OW", b"SQ", b"UN", b"UT", b"UC", b"UR", b"OD", b"OF", b"OL", b"OV", b"SV", b"UV"}


@dataclass(frozen=True)
class Encoder:
    """Encodes elements in one of the three plain syntaxes."""

    implicit: bool = False
    order: str = "<"

    def element(self, tag: int, vr: bytes, value: bytes, *, length: int | None = None) -> bytes:
        """One element; `length` writes another length than the value's."""
        padded = value + (b"\0" if vr in {b"UI", b"OB", b"UN"} else b" ") * (len(value) & 1)
        count = len(padded) if length is None else length
        head = struct.pack(self.order + "HH", tag >> 16, tag & 0xFFFF)
        if self.implicit:
            return head + struct.pack(self.order + "I", count) + padded
        if vr in _LONG:
            return head + vr + struct.pack(self.order + "HI", 0, count) + padded
        return head + vr + struct.pack(self.order + "H", count) + padded

    def mark(self, tag: int, length: int = 0) -> bytes:
        """An item or a delimiter: no VR in any syntax."""
        return struct.pack(self.order + "HHI", tag >> 16, tag & 0xFFFF, length)

    def identity(self, sop_instance_uid: str = "1.2.3", **other: bytes) -> bytes:
        """The elements that a scan looks for, in order; `between` stands before the study's."""
        return b"".join(
            (
                self.element(0x00080016, b"UI", CT_IMAGE_STORAGE.encode()),
                self.element(0x00080018, b"UI", sop_instance_uid.encode()),
                self.element(0x00080060, b"CS", b"CT"),
                other.get("between", b""),
                self.element(0x0020000D, b"UI", b"1.2.3.4"),
                self.element(0x0020000E, b"UI", b"1.2.3.4.5"),
            )
        )


ENCODERS = {
    IMPLICIT: Encoder(implicit=True),
    EXPLICIT: Encoder(),
    BIG_ENDIAN: Encoder(order=">"),
    JPEG_LOSSLESS: Encoder(),
}


def data_root() -> Path:
    """Where the real files are."""
    root = Path(os.environ.get("RELAY_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data")
    if not (root / "corpus" / "MANIFEST.csv").is_file():
        pytest.skip("no real files: set RELAY_TEST_DATA")
    return root


def real_files(*folders: str) -> Iterator[tuple[Path, dict[str, str]]]:
    """Every real file with its row of the manifest."""
    root = data_root()
    for folder in folders:
        with (root / folder / "MANIFEST.csv").open(encoding="utf-8", newline="") as manifest:
            for row in csv.DictReader(manifest):
                yield root / folder / row["path"], row
