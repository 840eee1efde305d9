"""One Part 10 file on its way into the spool: its head decides where to, the rest flows by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from dicomrelay.dicom.part10 import HEAD_BYTES, FileMeta, parse_file_meta
from dicomrelay.dicom.scan import HeaderScanner
from dicomrelay.dicom.status import Status
from dicomrelay.dicom.transfer_syntaxes import transfer_syntax
from dicomrelay.errors import DataSetError, RelayError
from dicomrelay.net.replies import reply_to
from dicomrelay.net.service import Commit, StoreReply, StoreSink
from dicomrelay.spool import SpoolRecord
from streamer.stow.outcomes import Failed, Outcome, Stored

Kept = Callable[[SpoolRecord], None]
# SOP class, SOP instance, transfer syntax.
Begin = Callable[[str, str, str, Kept], StoreSink | StoreReply]

_NOTHING: Final = StoreReply(Status.CANNOT_UNDERSTAND, "the part is empty")
_ODD: Final = StoreReply(Status.CANNOT_UNDERSTAND, "the data set has an odd number of bytes")


class FilePart:
    """Takes the bytes of one file. For one thread at a time."""

    def __init__(self, begin: Begin) -> None:
        self._begin = begin
        self._head = bytearray()
        self._has_begun = False
        self._sink: StoreSink | None = None
        self._reply: StoreReply | None = None
        self._record: SpoolRecord | None = None
        self._sop_class_uid = self._sop_instance_uid = ""
        self._pads = False
        self._bytes = 0

    def write(self, pieces: Sequence[memoryview]) -> None:
        """Take the next bytes. What goes wrong is told at the end."""
        if self._has_begun:
            self._pass_on(pieces)
            return
        for piece in pieces:
            self._head += piece
        if len(self._head) >= HEAD_BYTES:
            self._start()

    def finish(self) -> Callable[[], list[Outcome]]:
        """The file is whole. What is left to do for it, in any thread: make it durable, and say what became of it."""
        if not self._has_begun:
            self._start()
        if self._bytes % 2:
            self._even()
        sink, self._sink = self._sink, None
        commit: Commit | None = None
        if sink is not None:
            try:
                found = sink.finish()
            except (RelayError, OSError) as error:
                found = reply_to(error)
            if isinstance(found, StoreReply):
                self._reply = found
            else:
                commit = found
        return partial(self._outcome, commit)

    def _outcome(self, commit: Commit | None) -> list[Outcome]:
        reply = self._reply or _NOTHING
        if commit is not None:
            try:
                reply = commit()
            except (RelayError, OSError) as error:
                reply = reply_to(error)
        record = self._record
        if reply.status == Status.SUCCESS and record is not None:
            return [
                Stored(
                    record.sop_class_uid,
                    record.sop_instance_uid,
                    record.study_instance_uid,
                    record.series_instance_uid,
                )
            ]
        return [Failed(reply.status, reply.comment, self._sop_class_uid, self._sop_instance_uid)]

    def abandon(self) -> None:
        """It will never be whole: forget it."""
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.abandon()

    def _start(self) -> None:
        head, self._head, self._has_begun = bytes(self._head), bytearray(), True
        if not head:
            return
        try:
            meta = parse_file_meta(head[:HEAD_BYTES])
        except DataSetError as error:
            self._reply = reply_to(error)
            return
        self._sop_class_uid, self._sop_instance_uid = _named(meta, head)
        begun = self._begin(self._sop_class_uid, self._sop_instance_uid, meta.transfer_syntax_uid, self._keep)
        if isinstance(begun, StoreReply):
            self._reply = begun
            return
        self._sink = begun
        self._pads = transfer_syntax(meta.transfer_syntax_uid).is_deflated
        self._pass_on([memoryview(head)[meta.data_set_offset :]])

    def _keep(self, record: SpoolRecord) -> None:
        self._record = record

    def _even(self) -> None:
        """A deflated data set gets a NUL behind it (PS3.5 Annex A.5); another would be refused by every peer."""
        if self._pads:
            self._pass_on([memoryview(b"\0")])
        elif self._sink is not None:
            self._reply = _ODD
            self.abandon()

    def _pass_on(self, pieces: Sequence[memoryview]) -> None:
        if self._sink is None:
            return
        self._bytes += sum(map(len, pieces))
        try:
            self._sink.write(pieces)
        except (RelayError, OSError) as error:
            self._reply = reply_to(error)
            self.abandon()


def _named(meta: FileMeta, head: bytes) -> tuple[str, str]:
    """SOP class and instance: what the data set says, as far as the head has it, else the meta (as `dicomrelay send` does)."""
    scanner = HeaderScanner(meta.transfer_syntax_uid)
    try:
        scanner.feed(memoryview(head)[meta.data_set_offset : HEAD_BYTES])
    except DataSetError:
        # It is scanned again on its way, and refused there with its name.
        return meta.sop_class_uid, meta.sop_instance_uid
    found = scanner.header
    return found.sop_class_uid or meta.sop_class_uid, found.sop_instance_uid or meta.sop_instance_uid
