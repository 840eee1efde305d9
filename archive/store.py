"""Storing a batch: files, names, then the index, so that a crash at any step leaves what the next try understands.

Order (docs/design/archive.md): file in place (link, or copy and flush), folders flushed, one index transaction. The file
without an index row is the only thing that a crash can leave beside temporary names; the next try finds it, compares
digests and puts it into the index.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from archive.attributes import InstanceAttributes, read_attributes
from archive.disk import Disk, digest_of, temporary_name
from archive.index.writer import FileSize, IndexWriter, Known, NewInstance
from archive.layout import Layout
from archive.values import StoreOutcome, StoreRequest, StoreResult
from dicomrelay.dicom.part10 import FileMeta, encode_file_meta
from dicomrelay.errors import ArchiveError, ConflictingInstance, IntegrityMismatch

_PREFIX_OFFSET: Final = 128
_PREFIX: Final = b"DICM"
# Folders known to be durable in their parents; forgotten all at once when there are too many.
_REMEMBERED_FOLDERS: Final = 100_000


@dataclass(slots=True)
class Placing:
    """The files of one batch on their way: what was put where, and which folders have new names in them."""

    layout: Layout
    disk: Disk
    durable_folders: set[Path]
    created: dict[str, Path] = field(default_factory=dict)
    resized: dict[str, FileSize] = field(default_factory=dict)
    changed: dict[Path, None] = field(default_factory=dict)

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
        """
        target = self.layout.resolve(relative_path)
        expected = request.data_set_offset + request.data_set_bytes
        actual = request.source.stat().st_size
        if actual != expected:
            raise ArchiveError(f"{request.source} has {actual} bytes where {expected} were announced")
        self._make_folders(target.parent)
        try:
            self._put(request, target, over=over)
            self.created[request.sop_instance_uid] = target
        except FileExistsError:
            self._check_same(request, target)
        self.changed[target.parent] = None
        return target.stat().st_size

    def put_back(self, request: StoreRequest, known: Known) -> None:
        """Put an instance of the index back in its place when its file is gone or damaged. Raises as `place` does."""
        size = _size(self.layout.resolve(known.relative_path))
        if size == known.file_bytes:
            return
        size = self.place(request, known.relative_path, over=size is not None)
        if size != known.file_bytes:
            # The same data set behind another file meta.
            self.resized[request.sop_instance_uid] = FileSize(size, size - request.data_set_bytes)

    def make_durable(self) -> None:
        """Flush every folder with new names, from the leaves up, each once."""
        for folder in sorted(self.changed, key=lambda path: len(path.parts), reverse=True):
            self.disk.sync_directory(folder)
        if len(self.durable_folders) > _REMEMBERED_FOLDERS:
            self.durable_folders.clear()
        self.durable_folders.update(self.changed)
        self.changed.clear()

    def take_back(self, uids: Sequence[str]) -> None:
        """Remove what this batch created for these instances."""
        for uid in uids:
            if uid in self.created:
                self.disk.remove(self.created.pop(uid))
            self.resized.pop(uid, None)

    def _make_folders(self, folder: Path) -> None:
        """Make the folder and those above it; their names are flushed with this batch unless known to be durable."""
        missing = []
        while folder != self.layout.root and folder not in self.durable_folders:
            missing.append(folder)
            folder = folder.parent
        for path in reversed(missing):
            self.disk.make_directory(path)
            self.changed[path.parent] = None

    def _put(self, request: StoreRequest, target: Path, *, over: bool) -> None:
        with request.source.open("rb") as source:
            head = source.read(_PREFIX_OFFSET + len(_PREFIX))
        is_part10 = head[_PREFIX_OFFSET:] == _PREFIX and request.data_set_offset > _PREFIX_OFFSET
        if is_part10 and request.may_link and not over and self.disk.link(request.source, target):
            return
        if not over and target.exists():
            raise FileExistsError(str(target))
        temporary = temporary_name(target)
        try:
            preface = b"" if is_part10 else _file_meta(request)
            digest = self.disk.copy(
                request.source, temporary, preface=preface, digest_from=request.data_set_offset
            )
            if digest != request.digest:
                raise IntegrityMismatch(
                    f"{request.source} has another digest than announced: was it changed?",
                    expected=request.digest,
                    actual=digest,
                )
            if over:
                self.disk.replace(temporary, target)
            else:
                self.disk.publish(temporary, target)
        except (OSError, IntegrityMismatch):
            self.disk.remove(temporary)
            raise

    @staticmethod
    def _check_same(request: StoreRequest, target: Path) -> None:
        """A file of that name is there: left by a crash, or somebody else's bytes. The data set is its tail."""
        offset = target.stat().st_size - request.data_set_bytes
        if offset < 0 or digest_of(target, offset=offset) != request.digest:
            raise ConflictingInstance(f"a file in the place of {request.sop_instance_uid} holds other bytes")


def store_batch(
    requests: Sequence[StoreRequest],
    *,
    layout: Layout,
    disk: Disk,
    index: IndexWriter,
    durable_folders: set[Path],
) -> list[StoreResult]:
    """Store a batch; durable when it returns. Raises ServiceUnavailable or LedgerError when the index does not work."""
    placing = Placing(layout, disk, durable_folders)
    there = index.known([request.sop_instance_uid for request in requests])
    new: dict[str, NewInstance] = {}
    results = [_store_one(request, placing, there, new) for request in requests]
    try:
        placing.make_durable()
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


def _size(path: Path) -> int | None:
    """The size of a file in bytes; None when there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _why(error: OSError) -> str:
    return error.strerror or type(error).__name__


def _relative_path(request: StoreRequest, attributes: InstanceAttributes) -> str:
    return Layout.instance(
        attributes.text("patient_id"),
        request.study_instance_uid,
        request.series_instance_uid,
        request.sop_instance_uid,
    )


def _file_meta(request: StoreRequest) -> bytes:
    return encode_file_meta(
        FileMeta(
            sop_class_uid=request.sop_class_uid,
            sop_instance_uid=request.sop_instance_uid,
            transfer_syntax_uid=request.transfer_syntax_uid,
        )
    )
