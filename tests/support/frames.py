"""Files whose pixel data is made by the byte, and archives that hold them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import generate_uid

from archive import Archive
from tests.support.archive import request_for

BIG_ENDIAN = "1.2.840.10008.1.2.2"
UNDEFINED = 0xFFFFFFFF


def item(value: bytes, tag: int = 0xE000) -> bytes:
    """An item of encapsulated pixel data."""
    return struct.pack("<HHI", 0xFFFE, tag, len(value)) + value


def items(*values: bytes, table: bytes = b"", end: bool = True) -> bytes:
    """An encapsulated value: the Basic Offset Table, then fragments."""
    return b"".join(map(item, (table, *values))) + (item(b"", 0xE0DD) if end else b"")


def pixel_file(
    folder: Path,
    pixel_data: bytes | Callable[[BinaryIO], None],
    syntax: str,
    *,
    undefined: bool = False,
    **attributes: object,
) -> Path:
    """A file whose pixel data element holds exactly these bytes, or what a callable writes (then of undefined length)."""
    ds = Dataset()
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    ds.SOPInstanceUID = generate_uid()
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.3", "1.2.3.4"
    ds.Rows, ds.Columns, ds.BitsAllocated, ds.SamplesPerPixel = 2, 3, 8, 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    path = folder / f"{ds.SOPInstanceUID}.dcm"
    ds.save_as(path, enforce_file_format=True)
    vr = b"OW" if ds.BitsAllocated > 8 else b"OB"
    order = ">" if syntax == BIG_ENDIAN else "<"
    length = UNDEFINED if undefined or callable(pixel_data) else len(pixel_data)
    with path.open("ab") as file:
        file.write(struct.pack(f"{order}HH2sHI", 0x7FE0, 0x0010, vr, 0, length))
        if callable(pixel_data):
            pixel_data(file)
        else:
            file.write(pixel_data)
    return path


def archived(home: Path, paths: Iterable[Path], *, prepared: bool = True) -> list[str]:
    """File instances in the archive of a home; the URL of each. Also their frame indexes, unless told otherwise."""
    requests = [request_for(path) for path in paths]
    with closing(Archive.open(home / "archive")) as archive:
        for result in archive.store(requests):
            if prepared:
                archive.prepare_frames(result.relative_path)
    return [
        f"/studies/{request.study_instance_uid}/series/{request.series_instance_uid}/instances/{request.sop_instance_uid}"
        for request in requests
    ]
