"""`archive_index.json`, the index of the archive manager of old, written and read in bounded memory.

The schema: `version`, `creationDate`, `lastModified`, `fileCount`, `patients` of `studies` of `series` of `instances`.
"""

from __future__ import annotations

import io
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Final, TextIO

from archive.archive import Archive
from archive.disk import Disk, flush, new_file, temporary_name
from archive.export_folder import NO_MORE
from archive.outline import (
    Outline,
    OutlinedInstance,
    OutlinedPatient,
    OutlinedSeries,
    OutlinedStudy,
    outlined,
)
from archive.values import Selection
from dicomrelay.errors import ArchiveError, ConfigurationError

INDEX_NAME: Final = "archive_index.json"
VERSION: Final = "1.0"


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One instance of such an index, with what it says of its series, study and patient; "" for what it leaves out."""

    patient_name: str
    patient_id: str
    study_instance_uid: str
    study_date: str
    study_description: str
    study_modality: str
    series_instance_uid: str
    modality: str
    series_description: str
    sop_instance_uid: str
    sop_class_uid: str
    file_path: str
    file_size: int
    import_date: str


def write_index(
    archive: Archive, path: Path, selection: Selection | None = None, *, overwrite: bool = False
) -> int:
    """Write the index of a selection, of all by default, and return how many instances it has.

    Parameters
    ----------
    path : Path
        The file; `archive_index.json` where it is a folder.

    Raises
    ------
    ConfigurationError
        There is such a file and it may not be overwritten, or it cannot be made.
    ArchiveError
        The disk takes no more; nothing is left of it.
    ServiceUnavailable
        The index does not answer.
    """
    path = path / INDEX_NAME if path.is_dir() else path
    if os.path.lexists(path) and not overwrite:
        raise ConfigurationError(f"{path} exists: choose another name, or --overwrite it")
    disk, temporary = Disk(), temporary_name(path)
    try:
        with outlined(archive, selection or Selection()) as outline:
            with io.TextIOWrapper(new_file(temporary), encoding="utf-8") as file:
                _write(file, archive, outline)
                file.flush()
                flush(file.fileno())
            if overwrite:
                disk.replace(temporary, path)
            else:
                disk.publish(temporary, path)
            disk.sync_directory(path.parent)
            return outline.count
    except OSError as error:
        kind = ArchiveError if error.errno in NO_MORE else ConfigurationError
        raise kind(f"{path} cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):  # where nothing can be made there is nothing to remove
            disk.remove(temporary)


def _write(file: TextIO, archive: Archive, outline: Outline) -> None:
    created_ms, modified_ms = archive.places().when()
    head = {
        "version": VERSION,
        "creationDate": _iso(created_ms),
        "lastModified": _iso(modified_ms),
        "fileCount": outline.count,
    }
    file.write(json.dumps(head, ensure_ascii=False, indent=2)[:-2])
    file.write(',\n  "patients": [')
    for place, (patient, of_patient) in enumerate(groupby(outline, key=attrgetter("series.study.patient"))):
        _open(file, place, 4, _patient(patient), "studies")
        for study_place, (study, of_study) in enumerate(groupby(of_patient, key=attrgetter("series.study"))):
            _open(file, study_place, 8, _study(study), "series")
            for series_place, (series, of_series) in enumerate(groupby(of_study, key=attrgetter("series"))):
                _open(file, series_place, 12, _series(series), "instances")
                for number, instance in enumerate(of_series):
                    file.write((",\n" if number else "\n") + 16 * " ")
                    file.write(json.dumps(_instance(instance), ensure_ascii=False))
                _close(file, 12)
            _close(file, 8)
        _close(file, 4)
    file.write("\n  ]\n}\n")


def _open(file: TextIO, place: int, indent: int, values: dict[str, str], children: str) -> None:
    """An object of a list, up to the list of what is in it."""
    file.write((",\n" if place else "\n") + indent * " ")
    file.write(json.dumps(values, ensure_ascii=False)[:-1])
    file.write(f', "{children}": [')


def _close(file: TextIO, indent: int) -> None:
    file.write("\n" + indent * " " + "]}")


def _patient(patient: OutlinedPatient) -> dict[str, str]:
    return {"patientName": patient.patient_name, "patientID": patient.patient_id}


def _study(study: OutlinedStudy) -> dict[str, str]:
    return {
        "studyInstanceUID": study.uid,
        "studyDate": study.date,
        "studyDescription": study.description,
        "modality": study.modality,
    }


def _series(series: OutlinedSeries) -> dict[str, str]:
    return {
        "seriesInstanceUID": series.uid,
        "modality": series.modality,
        "seriesDescription": series.description,
    }


def _instance(instance: OutlinedInstance) -> dict[str, str | int]:
    stored = instance.stored
    return {
        "sopInstanceUID": stored.sop_instance_uid,
        "sopClassUID": stored.sop_class_uid,
        "filePath": stored.relative_path,
        "fileSize": stored.file_bytes,
        "importDate": _iso(instance.stored_ms),
    }


def _iso(when_ms: int) -> str:
    """ISO 8601 in UTC, to the second, as the seed's own tools write it."""
    return datetime.fromtimestamp(when_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
