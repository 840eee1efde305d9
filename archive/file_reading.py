"""A file of anybody's as a request to store it: is it an instance, which one, and its digest. By content, never by name."""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from archive.values import StoreRequest
from dicomrelay.dicom.part10 import HEAD_BYTES, FileMeta, parse_file_meta, quick_file_meta
from dicomrelay.dicom.quick_scan import quick_scan
from dicomrelay.dicom.scan import Header, HeaderScanner
from dicomrelay.dicom.transfer_syntaxes import transfer_syntax
from dicomrelay.dicom.uids import derived_uid, is_tolerable_uid
from dicomrelay.errors import MalformedDataSet, MissingAttribute, NotDicom

# A file of this size is read at once; of a larger one so much is in memory at a time.
_WHOLE_BYTES: Final = 4 << 20
_WINDOW_BYTES: Final = 32 << 20


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
        if size <= _WHOLE_BYTES:
            data = os.read(descriptor, size + 1)
            if len(data) != size:
                raise MalformedDataSet("changed while it was read")
            return _request(path, data, [memoryview(data)])
        with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as content:
            return _request(path, content, _windows(content))
    finally:
        os.close(descriptor)


def _windows(content: mmap.mmap) -> Iterator[memoryview]:
    """All of a mapped file, part by part; memory of each is let go behind it."""
    with memoryview(content) as view:
        for start in range(0, len(content), _WINDOW_BYTES):
            with view[start : start + _WINDOW_BYTES] as window:
                yield window
            if hasattr(content, "madvise"):
                content.madvise(mmap.MADV_DONTNEED, start, min(_WINDOW_BYTES, len(content) - start))


def _request(path: Path, data: bytes | mmap.mmap, windows: Iterable[memoryview]) -> StoreRequest:
    meta = quick_file_meta(data[:HEAD_BYTES])
    header = None
    if meta is None or not meta.transfer_syntax_uid:
        meta = parse_file_meta(data[:HEAD_BYTES])
    if meta.is_directory:
        raise NotDicom("is a DICOMDIR")
    size, offset = len(data), meta.data_set_offset
    if size == offset:
        raise MalformedDataSet("has a file meta and no data set")
    if (size - offset) % 2 and not transfer_syntax(meta.transfer_syntax_uid).is_deflated:
        raise MalformedDataSet("has an odd number of bytes: the file wants repair (PS3.5 Section 7.1)")
    if size <= _WINDOW_BYTES:
        header = quick_scan(data, offset, size, meta.transfer_syntax_uid)
    scanner = None if header else HeaderScanner(meta.transfer_syntax_uid, whole=True)
    digest, skipped = hashlib.sha256(), offset
    for window in windows:
        with window[min(skipped, len(window)) :] as rest:
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
