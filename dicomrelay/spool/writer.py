"""Writing one item: the order of its system calls is the promise (docs/design/spool.md)."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from dicomrelay.dicom.scan import Header
from dicomrelay.dicom.uids import derived_uid
from dicomrelay.errors import SpoolError, SpoolFull
from dicomrelay.spool.directory_sync import DirectorySync
from dicomrelay.spool.free_space import FreeSpace
from dicomrelay.spool.layout import ITEM, PART, REFERENCE
from dicomrelay.spool.operations import Buffer, Operations
from dicomrelay.spool.records import SpoolRecord, encode_head, encode_record, head_bytes
from dicomrelay.spool.reserve import Reserve

_CHECK_SPACE_EVERY_BYTES: Final = 64 << 20
_MAX_BUFFERS: Final = 1000  # IOV_MAX is 1024 on Linux and macOS
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


def spool_error(path: str | Path, doing: str, error: OSError) -> SpoolError:
    """What the operating system said, as an error of the spool."""
    if error.errno in _NO_ROOM:
        return SpoolFull(
            f"{path}: {doing}: {error.strerror}: make room on that file system, it goes on by itself"
        )
    return SpoolError(f"{path}: {doing}: {error.strerror or error}")


class SpoolWriter:
    """One item being written. Made by `Spool.writer`; of one thread.

    Exactly one of `commit` and `abandon` ends it; after an error it is ended already, and `abandon` does nothing.
    """

    def __init__(
        self,
        first: SpoolRecord,
        folder: str,
        *,
        operations: Operations,
        reserve: Reserve,
        space: FreeSpace,
    ) -> None:
        self._first = first
        self._offset = head_bytes(first)
        self._operations = operations
        self._reserve = reserve
        self._space = space
        self._item = f"{folder}/{first.id}{ITEM}"
        self._digest = hashlib.sha256()
        self._bytes = 0
        self._has_ended = False
        self._check_at = _CHECK_SPACE_EVERY_BYTES
        try:
            self._fd, self._part, self._ready_bytes = reserve.take()
        except OSError as error:
            raise spool_error(self._item, "cannot be created", error) from error

    @property
    def id(self) -> str:
        """The id that the item will have."""
        return self._first.id

    @property
    def data_set_bytes(self) -> int:
        """Bytes of the data set written so far."""
        return self._bytes

    def write(self, fragments: Sequence[Buffer]) -> None:
        """Append to the data set; the buffers are not kept.

        Raises
        ------
        SpoolFull
            The disk is full, or came under the low-water mark in the middle of a large data set.
        SpoolError
            It could not be written. In both cases the file is gone.
        """
        for fragment in fragments:
            self._digest.update(fragment)
        try:
            self._write_all([each for each in fragments if len(each)], self._offset + self._bytes)
        except OSError as error:
            self.abandon()
            raise spool_error(self._part, "cannot be written", error) from error
        self._bytes += sum(map(len, fragments))
        if self._bytes >= self._check_at:
            self._check_at = self._bytes + _CHECK_SPACE_EVERY_BYTES
            try:
                self._space.check(now=True)
            except SpoolFull:
                self.abandon()
                raise

    def _write_all(self, buffers: list[Buffer], offset: int) -> None:
        while buffers:
            written = self._operations.pwritev(self._fd, buffers[:_MAX_BUFFERS], offset)
            if written <= 0:
                raise OSError(errno.EIO, "nothing was written")
            offset += written
            while buffers and written >= len(buffers[0]):
                written -= len(buffers.pop(0))
            if written:
                buffers[0] = memoryview(buffers[0])[written:]

    def commit(self, header: Header) -> SpoolRecord:
        """Make the item durable under its final name.

        Parameters
        ----------
        header : Header
            What the scan found. A missing Study or Series Instance UID is derived from the SOP Instance UID, in the
            record only.

        Raises
        ------
        SpoolError
            It is not durable and its file is gone: the data set must come again.
        """
        record = self._record(header)
        try:
            self._write_all([encode_head(record)], 0)
            self._operations.sync_data(self._fd)
            # From here on it is durable: what follows shows it to the readers.
            size = self._offset + self._bytes
            if size < self._ready_bytes:
                self._operations.truncate(self._fd, size)
            self._close()
            self._operations.rename(self._part, self._item)
            self._has_ended = True
            self._reserve.used(size)
            self._space.take(size)
        except OSError as error:
            self.abandon()
            raise spool_error(self._item, "cannot be made durable", error) from error
        except SpoolError:
            self.abandon()
            raise
        return record

    def _record(self, header: Header) -> SpoolRecord:
        # By hand: dataclasses.replace takes four times as long, and this is done for every instance.
        first = self._first
        instance = first.sop_instance_uid
        return SpoolRecord(
            id=first.id,
            sop_class_uid=first.sop_class_uid,
            sop_instance_uid=instance,
            study_instance_uid=header.study_instance_uid or derived_uid("study", instance),
            series_instance_uid=header.series_instance_uid or derived_uid("series", instance),
            transfer_syntax_uid=first.transfer_syntax_uid,
            modality=header.modality,
            data_set_offset=self._offset,
            data_set_bytes=self._bytes,
            digest=self._digest.hexdigest(),
            provenance=first.provenance,
            source_path=first.source_path,
            send_to=first.send_to,
        )

    def abandon(self) -> None:
        """Forget the data set: the file is removed. Harmless when the writer has ended already."""
        if not self._has_ended:
            self._has_ended = True
            with suppress(OSError):
                self._close()
            self._remove(self._part)

    def _close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            self._operations.close(fd)

    def _remove(self, path: str) -> None:
        # What cannot be removed is swept at the next start, or is whole and was never acknowledged.
        with suppress(OSError):
            self._operations.unlink(path)


def write_reference(record: SpoolRecord, folder: Path, operations: Operations, names: DirectorySync) -> None:
    """Make a record durable whose data set stays where it lies.

    Raises
    ------
    SpoolError
        It is not durable, and its file is gone.
    """
    part, final = f"{folder}/{record.id}{PART}", f"{folder}/{record.id}{REFERENCE}"
    encoded = encode_record(record)
    try:
        fd = operations.create(part)
        try:
            if operations.pwritev(fd, [encoded], 0) != len(encoded):
                raise OSError(errno.EIO, "written in part only")
            operations.sync_data(fd)
        finally:
            operations.close(fd)
        operations.rename(part, final)
        names.sync()
    except (OSError, SpoolError) as error:
        for name in (part, final):
            with suppress(OSError):
                operations.unlink(name)
        if isinstance(error, OSError):
            raise spool_error(part, "cannot be made durable", error) from error
        raise
