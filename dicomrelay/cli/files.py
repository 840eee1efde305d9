"""Which of the files that a person names are DICOM, and what each holds: by content, never by name."""

from __future__ import annotations

import mmap
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dicomrelay.dicom.part10 import HEAD_BYTES, FileMeta, parse_file_meta, quick_file_meta
from dicomrelay.dicom.quick_scan import quick_scan
from dicomrelay.dicom.scan import Header, HeaderScanner
from dicomrelay.dicom.transfer_syntaxes import transfer_syntax
from dicomrelay.dicom.uids import is_tolerable_uid
from dicomrelay.errors import MalformedDataSet, MissingAttribute, NotDicom, RelayError

# So much of a mapped file may be in memory at once.
_WINDOW_BYTES: Final = 32 << 20
# Enough of most files for all that stands before their pixel data.
_FIRST_BYTES: Final = 16_384


@dataclass(frozen=True, slots=True)
class DicomFile:
    """A file that can be sent. UIDs of study and series are "" where the data set has none.

    There may be a million of them: the folder and every UID that repeats are one object for all.
    """

    folder: str
    name: str
    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    modality: str
    transfer_syntax_uid: str
    data_set_offset: int
    data_set_bytes: int

    @property
    def path(self) -> Path:
        """Where it is."""
        return Path(self.folder, self.name)


@dataclass(frozen=True, slots=True)
class Passed:
    """A file that is left out; `fault` when it should have been sent: unreadable, truncated, or named and no DICOM."""

    path: Path
    reason: str
    fault: bool


def scan(paths: Sequence[Path], *, recursive: bool) -> Iterator[DicomFile | Passed]:
    """Look at every file named, and at the files in every folder named; a file that is met twice counts once.

    Parameters
    ----------
    recursive : bool
        Folders in folders too. Links to folders are not followed.
    """
    seen: dict[int, set[int]] = {}  # inodes by device
    for path in paths:
        try:
            kind = path.stat().st_mode
        except OSError as error:
            yield Passed(path, f"{error.strerror}: is the path right?", fault=True)
            continue
        if stat.S_ISDIR(kind):
            yield from _scan_folder(path, recursive, seen)
        else:
            yield from _look(str(path.parent), path.name, seen, named=True)


def _scan_folder(folder: Path, recursive: bool, seen: dict[int, set[int]]) -> Iterator[DicomFile | Passed]:
    problems: list[Passed] = []

    def problem(error: OSError) -> None:
        problems.append(
            Passed(Path(error.filename or folder), f"cannot be listed: {error.strerror}", fault=True)
        )

    for place, folders, names in os.walk(folder, onerror=problem):
        folders.sort()
        if not recursive:
            folders.clear()
        names.sort()
        for name in names:
            yield from _look(place, name, seen, named=False)
    yield from problems


def _look(folder: str, name: str, seen: dict[int, set[int]], *, named: bool) -> Iterator[DicomFile | Passed]:
    path = f"{folder}/{name}"
    try:
        state = os.stat(path)  # noqa: PTH116  # no Path for each of a million files
        inodes = seen.setdefault(state.st_dev, set())
        if state.st_ino in inodes:
            return
        inodes.add(state.st_ino)
        if not stat.S_ISREG(state.st_mode):
            yield Passed(Path(path), "is no regular file", fault=named)
        elif state.st_size == 0:
            yield Passed(Path(path), "is empty", fault=named)
        else:
            yield _read(folder, name, state.st_size)
    except NotDicom as error:
        yield Passed(Path(path), str(error), fault=named)
    except RelayError as error:
        yield Passed(Path(path), str(error), fault=True)
    except OSError as error:
        yield Passed(Path(path), f"cannot be read: {error.strerror}", fault=True)


def read(path: Path) -> DicomFile | Passed:
    """Walk a whole file, without reading what its elements hold.

    Raises
    ------
    NotDicom, MalformedDataSet, MissingAttribute
        It cannot be sent.
    OSError
        It cannot be read.
    """
    return _read(str(path.parent), path.name, path.stat().st_size)


def _read(folder: str, name: str, size: int) -> DicomFile | Passed:
    descriptor = os.open(f"{folder}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        head = os.pread(descriptor, _FIRST_BYTES, 0)
        meta = quick_file_meta(head)
        header = quick_scan(head, meta.data_set_offset, size, meta.transfer_syntax_uid) if meta else None
        if meta is None or header is None:
            meta, header, size = _walk(descriptor)
    finally:
        os.close(descriptor)
    if meta.is_directory:
        return Passed(Path(folder, name), "is a DICOMDIR", fault=False)
    return _file(folder, name, meta, header, size - meta.data_set_offset)


def _walk(descriptor: int) -> tuple[FileMeta, Header, int]:
    """By the general scan, which knows every way in which a file can be odd."""
    with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as content:
        meta = parse_file_meta(content[:HEAD_BYTES])
        if meta.is_directory:
            return meta, Header(), len(content)
        header = None
        if len(content) <= _WINDOW_BYTES:
            header = quick_scan(content, meta.data_set_offset, len(content), meta.transfer_syntax_uid)
        if header is None:
            header = _scan_in_windows(content, meta)
        return meta, header, len(content)


def _scan_in_windows(content: mmap.mmap, meta: FileMeta) -> Header:
    """The general scan, which lets go of each part of the file behind it: a file of any size in constant memory."""
    scanner = HeaderScanner(meta.transfer_syntax_uid, whole=True)
    with memoryview(content) as view:
        begin = meta.data_set_offset
        while begin < len(content):
            end = min(begin + _WINDOW_BYTES, len(content)) // mmap.PAGESIZE * mmap.PAGESIZE
            end = end if end > begin else len(content)
            with view[begin:end] as window:
                scanner.feed(window)
            if hasattr(content, "madvise"):
                start = begin // mmap.PAGESIZE * mmap.PAGESIZE
                content.madvise(mmap.MADV_DONTNEED, start, end - start)
            begin = end
    return scanner.finish()


def _file(folder: str, name: str, meta: FileMeta, header: Header, size: int) -> DicomFile:
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
    intern = sys.intern
    return DicomFile(
        folder,
        name,
        intern(sop_class_uid),
        sop_instance_uid,
        intern(header.study_instance_uid),
        intern(header.series_instance_uid),
        intern(header.modality),
        intern(meta.transfer_syntax_uid),
        meta.data_set_offset,
        size,
    )
