"""Real files to store, and the requests that store them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pydicom.data
import pytest

from archive import StoreRequest
from archive.disk import digest_of
from dicomrelay.dicom.part10 import HEAD_BYTES, parse_file_meta
from dicomrelay.dicom.scan import HeaderScanner
from dicomrelay.dicom.uids import derived_uid
from dicomrelay.errors import DataSetError

SHARED = Path(os.environ.get("RELAY_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data")


def pydicom_file(name: str) -> Path:
    """A test file that is installed with pydicom; never a download."""
    return Path(pydicom.data.__file__).parent / "test_files" / name


def pydicom_files() -> list[Path]:
    """Every DICOM file installed with pydicom."""
    folder = pydicom_file("CT_small.dcm").parent
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and is_storable(path)]


def shared_files(folder: str = "corpus") -> list[Path]:
    """Real files of other people, where they are at hand."""
    root = SHARED / folder
    if not root.is_dir():
        pytest.skip(f"{root} is not here")
    return [path for path in sorted(root.rglob("*")) if path.is_file() and is_storable(path)]


def is_storable(path: Path) -> bool:
    """Whether a file is an instance with the UIDs that C-STORE needs."""
    try:
        return bool(request_for(path).sop_instance_uid)
    except DataSetError:
        return False


def request_for(path: Path, *, may_link: bool = False) -> StoreRequest:
    """What a worker would ask for this file."""
    with path.open("rb") as file:
        meta = parse_file_meta(file.read(HEAD_BYTES))
        if meta.is_directory:
            return StoreRequest(path, 0, 0, "", "", "", "", "", "")
        file.seek(meta.data_set_offset)
        scanner = HeaderScanner(meta.transfer_syntax_uid)
        for chunk in _chunks(file.fileno()):
            if scanner.feed(memoryview(chunk)):
                break
    header = scanner.header
    sop_instance_uid = header.sop_instance_uid or meta.sop_instance_uid
    return StoreRequest(
        source=path,
        data_set_offset=meta.data_set_offset,
        data_set_bytes=path.stat().st_size - meta.data_set_offset,
        digest=digest_of(path, offset=meta.data_set_offset),
        sop_class_uid=header.sop_class_uid or meta.sop_class_uid,
        sop_instance_uid=sop_instance_uid,
        study_instance_uid=header.study_instance_uid or derived_uid("study", sop_instance_uid),
        series_instance_uid=header.series_instance_uid or derived_uid("series", sop_instance_uid),
        transfer_syntax_uid=meta.transfer_syntax_uid,
        modality=header.modality,
        may_link=may_link,
    )


def _chunks(descriptor: int) -> Iterator[bytes]:
    while chunk := os.read(descriptor, 65_536):
        yield chunk
