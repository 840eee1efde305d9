"""The bytes of an instance on their way out: a new file meta, and its data set from an open file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from archive import Archive, StoredInstance
from archive.frame_reader import CHUNK_BYTES, read_exactly
from dicomrelay.dicom.part10 import FileMeta, encode_file_meta
from dicomrelay.errors import ArchiveError, FrameError
from dicomrelay.transcode.syntaxes import COMPRESSED
from dicomrelay.transcode.values import Source
from streamer.conditions import Span
from streamer.transcoding import Transcoding


@dataclass(slots=True)
class Content:
    """Some bytes, and a part of an open file behind them. `close` it, or take all of `chunks`."""

    head: bytes
    descriptor: int
    offset: int
    size: int
    sop_instance_uid: str = ""

    @property
    def length(self) -> int:
        """All of its bytes."""
        return len(self.head) + self.size

    def chunks(self, span: Span | None = None) -> Iterator[bytes]:
        """Its bytes, at most 256 KiB of the file at a time; closed at the end.

        Raises
        ------
        ArchiveError
            The file cannot be read, or ends before.
        """
        start, end = (0, self.length) if span is None else (span.start, span.end)
        begin, stop = (max(0, edge - len(self.head)) for edge in (start, end))
        try:
            if start < len(self.head):
                yield self.head[start:end]
            for at in range(begin, stop, CHUNK_BYTES):
                yield read_exactly(self.descriptor, min(CHUNK_BYTES, stop - at), self.offset + at)
        except (OSError, FrameError) as error:
            why = str(error) if isinstance(error, FrameError) else error.strerror or type(error).__name__
            raise ArchiveError(
                f"the file of {self.sop_instance_uid or 'a value'} cannot be read: {why}"
            ) from None
        finally:
            self.close()

    def close(self) -> None:
        """Close its file."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def file_meta(stored: StoredInstance, transfer_syntax_uid: str = "") -> bytes:
    """A file meta that says nothing about how the instance came."""
    return encode_file_meta(
        FileMeta(
            sop_class_uid=stored.sop_class_uid,
            sop_instance_uid=stored.sop_instance_uid,
            transfer_syntax_uid=transfer_syntax_uid or stored.transfer_syntax_uid,
        )
    )


def opened(archive: Archive, stored: StoredInstance) -> int:
    """A descriptor of a stored file, of the size it should have. Raises ArchiveError, without a path, and ServiceUnavailable."""
    descriptor = -1
    try:
        descriptor = os.open(archive.path_of(stored), os.O_RDONLY | os.O_CLOEXEC)
        actual = os.fstat(descriptor).st_size
    except OSError as error:
        # Not from it: its path holds the patient id, and a traceback would show that.
        why = error.strerror or type(error).__name__
        raise ArchiveError(f"the file of {stored.sop_instance_uid} cannot be read: {why}") from None
    if actual != stored.file_bytes:
        os.close(descriptor)
        raise ArchiveError(
            f"the file of {stored.sop_instance_uid} has {actual} bytes where the index expects {stored.file_bytes}"
        )
    return descriptor


class Contents:
    """Opens instances, as they are stored or in another transfer syntax."""

    def __init__(self, archive: Archive, transcoding: Transcoding) -> None:
        self._archive = archive
        self.transcoding = transcoding

    def open(self, stored: StoredInstance, transfer_syntax_uid: str = "") -> Content:
        """An instance as a Part 10 file; "" as it is stored.

        Raises
        ------
        ArchiveError, ServiceUnavailable
            The file cannot be read.
        HttpError
            406, 503: no copy can be made.
        """
        if transfer_syntax_uid in {"", stored.transfer_syntax_uid}:
            descriptor = opened(self._archive, stored)
            head, size = file_meta(stored), stored.data_set_bytes
            return Content(head, descriptor, stored.data_set_offset, size, stored.sop_instance_uid)
        if transfer_syntax_uid in COMPRESSED:
            copy = self.transcoding.compressed(stored, transfer_syntax_uid)
        else:
            with self._archive.reading(stored) as path:
                size, syntax = stored.data_set_bytes, stored.transfer_syntax_uid
                source = Source(path, stored.data_set_offset, size, syntax)
                copy = self.transcoding.copy(source, transfer_syntax_uid)
        head = file_meta(stored, transfer_syntax_uid)
        return Content(head, copy.descriptor, 0, copy.length, stored.sop_instance_uid)
