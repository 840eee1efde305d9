"""Which of the files that a person names are DICOM, and what each holds: by content, never by name."""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dicomrelay.dicom.part10 import HEAD_BYTES, parse_file_meta
from dicomrelay.dicom.scan import HeaderScanner
from dicomrelay.dicom.transfer_syntaxes import transfer_syntax
from dicomrelay.dicom.uids import is_tolerable_uid
from dicomrelay.errors import MalformedDataSet, MissingAttribute, NotDicom, RelayError


@dataclass(frozen=True, slots=True)
class DicomFile:
    """A file that can be sent. UIDs of study and series are "" where the data set has none."""

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    modality: str
    transfer_syntax_uid: str
    data_set_offset: int
    data_set_bytes: int


@dataclass(frozen=True, slots=True)
class Passed:
    """A file that is left out; `fault` when it should have been sent: unreadable, truncated, or named and no DICOM."""

    path: Path
    reason: str
    fault: bool


def scan(paths: Sequence[Path], *, recursive: bool) -> Iterator[DicomFile | Passed]:
    """Look at every file named, and at the files in every folder named.

    Parameters
    ----------
    recursive : bool
        Folders in folders too. Links to folders are not followed.
    """
    seen: set[tuple[int, int]] = set()
    for path in paths:
        try:
            kind = path.stat().st_mode
        except OSError as error:
            yield Passed(path, f"{error.strerror}: is the path right?", fault=True)
            continue
        if stat.S_ISDIR(kind):
            yield from _scan_folder(path, recursive, seen)
        else:
            yield from _look(path, seen, named=True)


def _scan_folder(folder: Path, recursive: bool, seen: set[tuple[int, int]]) -> Iterator[DicomFile | Passed]:
    problems: list[Passed] = []

    def problem(error: OSError) -> None:
        problems.append(
            Passed(Path(error.filename or folder), f"cannot be listed: {error.strerror}", fault=True)
        )

    for place, folders, names in os.walk(folder, onerror=problem):
        folders.sort()
        if not recursive:
            folders.clear()
        for name in sorted(names):
            yield from _look(Path(place, name), seen, named=False)
    yield from problems


def _look(path: Path, seen: set[tuple[int, int]], *, named: bool) -> Iterator[DicomFile | Passed]:
    try:
        state = path.stat()
        if (state.st_dev, state.st_ino) in seen:
            return
        seen.add((state.st_dev, state.st_ino))
        if not stat.S_ISREG(state.st_mode):
            yield Passed(path, "is no regular file", fault=named)
        elif state.st_size == 0:
            yield Passed(path, "is empty", fault=named)
        else:
            yield read(path)
    except NotDicom as error:
        yield Passed(path, str(error), fault=named)
    except RelayError as error:
        yield Passed(path, str(error), fault=True)
    except OSError as error:
        yield Passed(path, f"cannot be read: {error.strerror}", fault=True)


def read(path: Path) -> DicomFile | Passed:
    """Walk a whole file, without reading what its elements hold.

    Raises
    ------
    NotDicom, MalformedDataSet, MissingAttribute
        It cannot be sent.
    OSError
        It cannot be read.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        meta = parse_file_meta(content[:HEAD_BYTES])
        if meta.is_directory:
            return Passed(path, "is a DICOMDIR", fault=False)
        scanner = HeaderScanner(meta.transfer_syntax_uid, whole=True)
        with memoryview(content) as view, view[meta.data_set_offset :] as data_set:
            scanner.feed(data_set)
            header = scanner.finish()
            size = len(data_set)
    if size == 0:
        raise MalformedDataSet("has a file meta and no data set")
    if size % 2 and not transfer_syntax(meta.transfer_syntax_uid).is_deflated:
        raise MalformedDataSet(
            "has an odd number of bytes, which no peer accepts: the file wants repair (PS3.5 Section 7.1)"
        )
    sop_class_uid = header.sop_class_uid or meta.sop_class_uid
    sop_instance_uid = header.sop_instance_uid or meta.sop_instance_uid
    for keyword, uid in (("SOPClassUID", sop_class_uid), ("SOPInstanceUID", sop_instance_uid)):
        if not uid:
            raise MissingAttribute(f"has no {keyword}, so it cannot be sent", keyword=keyword)
        if not is_tolerable_uid(uid):
            raise MalformedDataSet(f"{keyword} is no UID")
    return DicomFile(
        path=path,
        sop_class_uid=sop_class_uid,
        sop_instance_uid=sop_instance_uid,
        study_instance_uid=header.study_instance_uid,
        series_instance_uid=header.series_instance_uid,
        modality=header.modality,
        transfer_syntax_uid=meta.transfer_syntax_uid,
        data_set_offset=meta.data_set_offset,
        data_set_bytes=size,
    )
