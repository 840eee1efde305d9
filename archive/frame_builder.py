"""Making the frame index of a stored instance: once, from headers only, in constant memory.

Every end is written down: an instance whose frames cannot be addressed gets an index that says why, so that nobody tries
again and the streamer can answer in words.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, BinaryIO, Final

from archive.disk import Disk, flush, new_file, temporary_name
from archive.encapsulated import Fragments, FrameRow, frame_rows, scan_fragments
from archive.frame_header import FrameIndexHeader, FrameLayout, Geometry, PixelKind
from archive.frame_index import FrameIndex, encode_frame_entry
from archive.inflate import inflate
from archive.layout import Layout
from archive.native import uniform_frames
from archive.pixel_element import UNDEFINED_LENGTH, PixelElement, find_pixel_element
from archive.values import FrameSummary, StoredInstance
from dicomrelay.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, TransferSyntax, transfer_syntax
from dicomrelay.errors import FrameError, FramesNotAddressable, MalformedDataSet, RelayError

Reading = Callable[[StoredInstance], AbstractContextManager[Path]]
INFLATED: Final = "inflated"
_COPY_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Data:
    """The bytes that frames are taken from: the stored file, or what it inflates to."""

    relative_path: str
    path: Path
    data_set_offset: int
    syntax: TransferSyntax


@dataclass(frozen=True, slots=True)
class _Tables:
    """The tables of an encapsulated element, to be written behind the header."""

    rows: Callable[[], Iterator[FrameRow]]
    fragments: Fragments


def build_frame_index(
    stored: StoredInstance, *, layout: Layout, disk: Disk, reading: Reading
) -> FrameSummary:
    """Write the frame index of an instance, durable when this returns; one that fits is kept.

    Parameters
    ----------
    reading : callable
        Opens a stored file for reading: `Archive.reading`.

    Raises
    ------
    OSError
        The stored file cannot be read, or the index cannot be written.
    ServiceUnavailable
        The storage of the archive does not answer.
    """
    relative = index_path(stored)
    target = layout.resolve(relative)
    there = existing_index(target, stored)
    if there is not None:
        return FrameSummary(there.frame_count, there.reason)
    _make_folders(target.parent, layout.root, disk)
    temporary = temporary_name(target)
    try:
        with (
            ExitStack() as files,
            new_file(temporary) as output,
            tempfile.TemporaryFile(dir=layout.root) as rows,
        ):
            header, tables = _examine(
                stored, layout=layout, disk=disk, reading=reading, files=files, rows=rows
            )
            _write(output, header, tables)
        disk.replace(temporary, target)
    except (OSError, RelayError):
        disk.remove(temporary)
        raise
    disk.sync_directory(target.parent)
    return FrameSummary(header.frame_count, header.reason)


def index_path(stored: StoredInstance) -> str:
    """Where the frame index of an instance is, relative to the root."""
    return Layout.frames(stored.study_instance_uid, stored.series_instance_uid, stored.sop_instance_uid)


def existing_index(path: Path, stored: StoredInstance) -> FrameIndexHeader | None:
    """The header of the index at a path, when it can be read and is of these stored bytes."""
    try:
        with closing(FrameIndex.open(path)) as index:
            header = index.header
    except (FileNotFoundError, FrameError):
        return None
    same = (header.digest, header.stored_bytes, header.stored_path) == (
        stored.digest, stored.file_bytes, stored.relative_path,
    )  # fmt: skip
    return header if same else None


def _examine(
    stored: StoredInstance,
    *,
    layout: Layout,
    disk: Disk,
    reading: Reading,
    files: ExitStack,
    rows: IO[bytes],
) -> tuple[FrameIndexHeader, _Tables | None]:
    header = FrameIndexHeader(
        layout=FrameLayout.NONE,
        pixel_kind=PixelKind.NONE,
        frame_count=0,
        declared_frames=0,
        data_path=stored.relative_path,
        data_bytes=stored.file_bytes,
        stored_path=stored.relative_path,
        stored_bytes=stored.file_bytes,
        digest=stored.digest,
        study_instance_uid=stored.study_instance_uid,
        series_instance_uid=stored.series_instance_uid,
        sop_instance_uid=stored.sop_instance_uid,
        sop_class_uid=stored.sop_class_uid,
        transfer_syntax_uid=stored.transfer_syntax_uid,
        geometry=Geometry(),
    )
    try:
        data = _data_file(stored, files.enter_context(reading(stored)), layout=layout, disk=disk)
        header = replace(header, data_path=data.relative_path, data_bytes=data.path.stat().st_size)
        file = files.enter_context(data.path.open("rb"))
        element = find_pixel_element(
            file,
            data_set_offset=data.data_set_offset,
            is_implicit_vr=data.syntax.is_implicit_vr,
            is_little_endian=data.syntax.is_little_endian,
        )
        header = replace(
            header,
            pixel_kind=element.kind,
            geometry=element.geometry,
            declared_frames=element.declared_frames,
        )
        return _divide(header, element, data.syntax, file.fileno(), rows)
    except (MalformedDataSet, FramesNotAddressable) as error:
        return replace(header, reason=str(error)), None


def _divide(
    header: FrameIndexHeader, element: PixelElement, syntax: TransferSyntax, descriptor: int, rows: IO[bytes]
) -> tuple[FrameIndexHeader, _Tables | None]:
    if element.kind is PixelKind.NONE:
        raise FramesNotAddressable("the instance has no pixel data")
    if syntax.is_video:
        raise FramesNotAddressable("video: all frames are one bit stream")
    if element.value.length == UNDEFINED_LENGTH:
        if not syntax.is_encapsulated:
            raise MalformedDataSet(f"pixel data of undefined length in transfer syntax {syntax.uid}")
        fragments = scan_fragments(descriptor, element, file_bytes=header.data_bytes, rows=rows)
        tables = _Tables(frame_rows(descriptor, element, fragments), fragments)
        return replace(header, layout=FrameLayout.FRAGMENTS, frame_count=element.declared_frames), tables
    if syntax.is_encapsulated:
        raise MalformedDataSet(
            f"pixel data of defined length in transfer syntax {syntax.uid}, which encapsulates"
        )
    available = max(0, min(element.value.length, header.data_bytes - element.value.offset))
    frames = uniform_frames(element, available_bytes=available, is_little_endian=syntax.is_little_endian)
    if frames.count == 0:
        raise FramesNotAddressable(frames.reason)
    uniform = replace(
        header,
        layout=FrameLayout.UNIFORM,
        frame_count=frames.count,
        pixel_offset=element.value.offset,
        frame_bits=frames.frame_bits,
        swap_bytes=frames.swap_bytes,
        reason=frames.reason,
    )
    return uniform, None


def _data_file(stored: StoredInstance, path: Path, *, layout: Layout, disk: Disk) -> _Data:
    syntax = transfer_syntax(stored.transfer_syntax_uid)
    if not syntax.is_deflated:
        return _Data(stored.relative_path, path, stored.data_set_offset, syntax)
    relative = Layout.frames(
        stored.study_instance_uid, stored.series_instance_uid, stored.sop_instance_uid, suffix=INFLATED
    )
    target = layout.resolve(relative)
    temporary = temporary_name(target)
    try:
        inflate(path, offset=stored.data_set_offset, target=temporary)
        disk.replace(temporary, target)
    except (OSError, MalformedDataSet, FramesNotAddressable):
        disk.remove(temporary)
        raise
    return _Data(relative, target, 0, transfer_syntax(EXPLICIT_VR_LITTLE_ENDIAN))


def _write(output: BinaryIO, header: FrameIndexHeader, tables: _Tables | None) -> None:
    start = len(header.encode())
    if tables is not None:
        output.seek(start)
        has_parts = False
        for number, row in enumerate(tables.rows(), start=1):
            output.write(
                encode_frame_entry(number, row.offset, row.length, row.first_fragment, row.fragments)
            )
            has_parts = has_parts or row.fragments > 1
        if has_parts:
            tables.fragments.rows.seek(0)
            while page := tables.fragments.rows.read(_COPY_BYTES):
                output.write(page)
            header = replace(header, fragment_count=tables.fragments.count)
    output.seek(0)
    output.write(header.encode())
    output.flush()
    flush(output.fileno())


def _make_folders(folder: Path, root: Path, disk: Disk) -> None:
    """Make the folders of an index. Those that were there are durable enough: an index can be made again."""
    missing = []
    while folder != root and not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        disk.make_directory(path)
        disk.sync_directory(path.parent)
