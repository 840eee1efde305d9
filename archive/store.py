"""Storing a batch: files, names, then the index, so that a crash at any step leaves what the next try understands.

Order (docs/design/archive.md): file in place (link, or copy and flush), folders flushed, one index transaction. The file
without an index row is the only thing that a crash can leave beside temporary names; the next try finds it, compares
digests and puts it into the index.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from archive.attributes import InstanceAttributes, read_attributes
from archive.index.writer import FileSize, IndexWriter, Known, NewInstance
from archive.layout import Layout
from archive.storage import Put, Storage, Writing
from archive.values import StoreOutcome, StoreRequest, StoreResult
from dicomrelay.dicom.part10 import FileMeta, encode_file_meta
from dicomrelay.errors import ArchiveError, ConflictingInstance, IntegrityMismatch

_PREFIX_OFFSET: Final = 128
_PREFIX: Final = b"DICM"


@dataclass(slots=True)
class Placing:
    """The files of one batch on their way: what was put where."""

    storage: Storage
    writing: Writing
    created: dict[str, str] = field(default_factory=dict)
    resized: dict[str, FileSize] = field(default_factory=dict)

    def place(self, request: StoreRequest, relative_path: str, *, over: bool = False) -> int:
        """Put the file of a request under its name and return its size in bytes.

        Parameters
        ----------
        over : bool
            A file of that name is ours and damaged: a copy takes its place.

        Raises
        ------
        ConflictingInstance
            The name is taken by other bytes.
        IntegrityMismatch
            The source's data set is not what the request says.
        ArchiveError, OSError
            It cannot be done; nothing of it is left under the name.
        ServiceUnavailable
            The storage does not answer.
        """
        expected = request.data_set_offset + request.data_set_bytes
        actual = request.source.stat().st_size
        if actual != expected:
            raise ArchiveError(f"{request.source} has {actual} bytes where {expected} were announced")
        try:
            size = self.writing.put(relative_path, _wanted(request), over=over)
        except FileExistsError:
            return self._check_same(request, relative_path)
        self.created[request.sop_instance_uid] = relative_path
        return size

    def put_back(self, request: StoreRequest, known: Known) -> None:
        """Put an instance of the index back in its place when its file is gone or damaged. Raises as `place` does."""
        there = self.storage.stat(known.relative_path)
        if there is not None and there.size_bytes == known.file_bytes:
            return
        size = self.place(request, known.relative_path, over=there is not None)
        if size != known.file_bytes:
            # The same data set behind another file meta.
            self.resized[request.sop_instance_uid] = FileSize(size, size - request.data_set_bytes)

    def take_back(self, uids: Sequence[str]) -> None:
        """Remove what this batch created for these instances."""
        for uid in uids:
            if uid in self.created:
                self.storage.delete(self.created.pop(uid))
            self.resized.pop(uid, None)

    def _check_same(self, request: StoreRequest, relative_path: str) -> int:
        """A file of that name is there: left by a crash, or somebody else's bytes. The data set is its tail. Returns its size."""
        there = self.storage.stat(relative_path)
        offset = there.size_bytes - request.data_set_bytes if there else -1
        if there is None or offset < 0 or self.storage.digest(relative_path, offset) != request.digest:
            raise ConflictingInstance(f"a file in the place of {request.sop_instance_uid} holds other bytes")
        return there.size_bytes


def store_batch(
    requests: Sequence[StoreRequest],
    *,
    storage: Storage,
    index: IndexWriter,
) -> list[StoreResult]:
    """Store a batch; durable when it returns. Raises ServiceUnavailable or LedgerError when index or storage do not work."""
    placing = Placing(storage, storage.writing())
    there = index.known([request.sop_instance_uid for request in requests])
    new: dict[str, NewInstance] = {}
    results = [_store_one(request, placing, there, new) for request in requests]
    try:
        placing.writing.flush()
    except OSError as error:
        # What a failed flush left on the disk is unknown, and flushing again would not tell (never retry an fsync).
        lost = {*new, *placing.created}
        placing.take_back([*placing.created])
        return [_after_failed_flush(result, lost, _why(error)) for result in results]
    if placing.resized:
        index.resize(placing.resized)
    winners = index.add(list(new.values())) if new else {}
    return [_settle(result, new, winners, placing) for result in results]


def _store_one(
    request: StoreRequest, placing: Placing, there: dict[str, Known], new: dict[str, NewInstance]
) -> StoreResult:
    uid = request.sop_instance_uid
    try:
        if uid in new:
            known = Known(new[uid].request.digest, new[uid].relative_path, new[uid].file_bytes)
            return _compare(request, known)
        if uid in there:
            answer = _compare(request, there[uid])
            if answer.outcome is StoreOutcome.ALREADY_THERE:
                placing.put_back(request, there[uid])
            return answer
        attributes = read_attributes(
            request.source,
            data_set_offset=request.data_set_offset,
            transfer_syntax_uid=request.transfer_syntax_uid,
        )
        relative_path = _relative_path(request, attributes)
        size = placing.place(request, relative_path)
    except ConflictingInstance as error:
        return StoreResult(uid, StoreOutcome.CONFLICT, reason=str(error))
    except ArchiveError as error:
        return StoreResult(uid, StoreOutcome.FAILED, reason=str(error))
    except OSError as error:
        # The path of the source is its sender's or the spool's; one in the archive holds the patient id.
        where = request.source if error.filename == str(request.source) else f"instance {uid} in the archive"
        return StoreResult(uid, StoreOutcome.FAILED, reason=f"{where}: {_why(error)}")
    new[uid] = NewInstance(request, attributes, relative_path, size)
    return StoreResult(uid, StoreOutcome.STORED, relative_path, attributes.problem)


def _compare(request: StoreRequest, known: Known) -> StoreResult:
    if known.digest == request.digest:
        return StoreResult(request.sop_instance_uid, StoreOutcome.ALREADY_THERE, known.relative_path)
    return StoreResult(
        request.sop_instance_uid,
        StoreOutcome.CONFLICT,
        reason=f"the archive holds other bytes under {request.sop_instance_uid}",
    )


def _settle(
    result: StoreResult, new: dict[str, NewInstance], winners: dict[str, Known], placing: Placing
) -> StoreResult:
    """Compare with what the index holds after the transaction: another process may have been first."""
    item = new.get(result.sop_instance_uid)
    if item is None or result.outcome is not StoreOutcome.STORED:
        return result
    winner = winners[result.sop_instance_uid]
    if winner.relative_path == item.relative_path and winner.digest == item.request.digest:
        return result
    if winner.relative_path != item.relative_path:
        placing.take_back([result.sop_instance_uid])
    return _compare(item.request, winner)


def _after_failed_flush(result: StoreResult, lost: set[str], why: str) -> StoreResult:
    if result.sop_instance_uid not in lost or result.outcome is StoreOutcome.CONFLICT:
        return result
    return StoreResult(
        result.sop_instance_uid, StoreOutcome.FAILED, reason=f"a folder cannot be flushed: {why}"
    )


def _why(error: OSError) -> str:
    return error.strerror or type(error).__name__


def _relative_path(request: StoreRequest, attributes: InstanceAttributes) -> str:
    return Layout.instance(
        attributes.text("patient_id"),
        request.study_instance_uid,
        request.series_instance_uid,
        request.sop_instance_uid,
    )


def _wanted(request: StoreRequest) -> Put:
    """What is to be kept: the file as it is, or its data set behind a file meta of ours where it has none."""
    with request.source.open("rb") as source:
        head = source.read(_PREFIX_OFFSET + len(_PREFIX))
    is_part10 = head[_PREFIX_OFFSET:] == _PREFIX and request.data_set_offset > _PREFIX_OFFSET
    return Put(
        source=request.source,
        digest=request.digest,
        digest_from=request.data_set_offset,
        preface=b"" if is_part10 else _file_meta(request),
        may_link=request.may_link,
    )


def _file_meta(request: StoreRequest) -> bytes:
    return encode_file_meta(
        FileMeta(
            sop_class_uid=request.sop_class_uid,
            sop_instance_uid=request.sop_instance_uid,
            transfer_syntax_uid=request.transfer_syntax_uid,
        )
    )
