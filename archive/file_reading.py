"""A file of anybody's as a request to store it: is it an instance, which one, and its digest. By content, never by name."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Final

from archive.values import StoreRequest
from dicomrelay.dicom.part10 import HEAD_BYTES, FileMeta, parse_file_meta, quick_file_meta
from dicomrelay.dicom.quick_scan import quick_scan
from dicomrelay.dicom.scan import Header, HeaderScanner
from dicomrelay.dicom.transfer_syntaxes import transfer_syntax
from dicomrelay.dicom.uids import derived_uid, is_tolerable_uid
from dicomrelay.errors import MalformedDataSet, MissingAttribute, NotDicom

# So much is in memory at a time. Nothing is mapped: of a file that shrinks meanwhile the system would kill who reads it.
_WINDOW_BYTES: Final = 4 << 20


def read_request(path: Path) -> StoreRequest:
    """What is to be stored of a file.

    Raises
    ------
    NotDicom
        It is something else, is empty, or is a DICOMDIR.
    MalformedDataSet, MissingAttribute
        It is no whole instance with a SOP Class and a SOP Instance UID.
    OSError
        It cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(descriptor).st_size
        if size == 0:
            raise NotDicom("is empty")
        windows = _windows(descriptor, size)
        first = next(windows)
        return _request(path, size, first, chain((first,), windows))
    finally:
        os.close(descriptor)


def _windows(descriptor: int, size: int) -> Iterator[bytes]:
    """All of a file, part by part. Raises MalformedDataSet when it does not end where it ended before."""
    for position in range(0, size, _WINDOW_BYTES):
        wanted = min(_WINDOW_BYTES, size - position)
        data = _read_at(descriptor, position, wanted)
        if len(data) != wanted:
            raise MalformedDataSet("changed while it was read")
        yield data
    if os.pread(descriptor, 1, size):
        raise MalformedDataSet("changed while it was read")


def _read_at(descriptor: int, position: int, length: int) -> bytes:
    data = os.pread(descriptor, length, position)
    while len(data) < length and (more := os.pread(descriptor, length - len(data), position + len(data))):
        data += more
    return data


def _request(path: Path, size: int, first: bytes, windows: Iterable[bytes]) -> StoreRequest:
    meta = quick_file_meta(first[:HEAD_BYTES])
    if meta is None or not meta.transfer_syntax_uid:
        meta = parse_file_meta(first[:HEAD_BYTES])
    if meta.is_directory:
        raise NotDicom("is a DICOMDIR")
    offset = meta.data_set_offset
    if size == offset:
        raise MalformedDataSet("has a file meta and no data set")
    if (size - offset) % 2 and not transfer_syntax(meta.transfer_syntax_uid).is_deflated:
        raise MalformedDataSet("has an odd number of bytes: the file wants repair (PS3.5 Section 7.1)")
    header = quick_scan(first, offset, size, meta.transfer_syntax_uid)
    scanner = None if header else HeaderScanner(meta.transfer_syntax_uid, whole=True)
    digest, skipped = hashlib.sha256(), offset
    for window in windows:
        rest = memoryview(window)[min(skipped, len(window)) :]
        skipped -= len(window) - len(rest)
        digest.update(rest)
        if scanner is not None:
            scanner.feed(rest)
    if scanner is not None:
        header = scanner.finish()
    return _checked(path, meta, header or Header(), size, digest.hexdigest())


def _checked(path: Path, meta: FileMeta, header: Header, size: int, digest: str) -> StoreRequest:
    sop_class_uid = header.sop_class_uid or meta.sop_class_uid
    uid = header.sop_instance_uid or meta.sop_instance_uid
    for keyword, value in (("SOPClassUID", sop_class_uid), ("SOPInstanceUID", uid)):
        if not value:
            raise MissingAttribute(f"has no {keyword}", keyword=keyword)
        if not is_tolerable_uid(value):
            raise MalformedDataSet(f"{keyword} is no UID")
    return StoreRequest(
        source=path,
        data_set_offset=meta.data_set_offset,
        data_set_bytes=size - meta.data_set_offset,
        digest=digest,
        sop_class_uid=sop_class_uid,
        sop_instance_uid=uid,
        study_instance_uid=header.study_instance_uid or derived_uid("study", uid),
        series_instance_uid=header.series_instance_uid or derived_uid("series", uid),
        transfer_syntax_uid=meta.transfer_syntax_uid,
        modality=header.modality,
    )
