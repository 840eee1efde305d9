"""Archives with something in them to take out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset

from archive import Archive, StoreOutcome
from archive.disk import digest_of
from dicomrelay.dicom.part10 import HEAD_BYTES, parse_file_meta
from tests.support.archive import request_for

CT = "1.2.840.10008.5.1.4.1.1.2"
SR = "1.2.840.10008.5.1.4.1.1.88.11"
EXPLICIT = "1.2.840.10008.1.2.1"


def instance(folder: Path, study: int, series: int, number: int, **values: Any) -> Path:
    """A small CT instance; `values` by keyword, None takes an attribute away."""
    ds = Dataset()
    ds.SOPClassUID = CT
    ds.StudyInstanceUID = f"1.2.{study}"
    ds.SeriesInstanceUID = f"1.2.{study}.{series}"
    ds.SOPInstanceUID = f"1.2.{study}.{series}.{number}"
    ds.PatientID, ds.PatientName = f"P{study}", f"Doe^{study}"
    ds.StudyDate, ds.StudyTime, ds.StudyID = "20240110", "101500", str(study)
    ds.StudyDescription, ds.Modality, ds.SeriesDescription = f"Head {study}", "CT", f"Series {series}"
    ds.SeriesNumber, ds.InstanceNumber = series, number
    ds.Rows = ds.Columns = 8
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit, ds.PixelRepresentation, ds.SamplesPerPixel = 15, 0, 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.PixelData = bytes([number % 256]) * 128
    for keyword, value in values.items():
        if value is None:
            del ds[keyword]
        else:
            setattr(ds, keyword, value)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = EXPLICIT
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{study}.{series}.{number}.dcm"
    dcmwrite(path, ds, enforce_file_format=True)
    return path


def stored(archive: Archive, paths: Iterable[Path]) -> None:
    """Store files."""
    results = archive.store([request_for(path) for path in paths])
    assert {result.outcome for result in results} == {StoreOutcome.STORED}


def data_sets(folder: Path, suffix: str = "") -> dict[str, str]:
    """SOP Instance UID to the digest of the data set, of every file below a folder but a DICOMDIR."""
    found = {}
    for path in sorted(folder.rglob(f"*{suffix}")):
        if path.is_file() and path.name != "DICOMDIR":
            offset = parse_file_meta(path.read_bytes()[:HEAD_BYTES]).data_set_offset
            found[str(dcmread(path, stop_before_pixels=True).SOPInstanceUID)] = digest_of(path, offset=offset)
    return found


def names(folder: Path) -> list[str]:
    """Every file below a folder."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def damage(archive: Archive, uid: str) -> None:
    """Flip the last bit of a stored file."""
    study, series = uid.rsplit(".", 2)[0], uid.rsplit(".", 1)[0]
    path = archive.locate(study, series, uid)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.chmod(0o600)
    path.write_bytes(bytes(data))


def without(mapping: Mapping[str, str], *keys: str) -> dict[str, str]:
    """A mapping without some keys."""
    return {key: value for key, value in mapping.items() if key not in keys}
