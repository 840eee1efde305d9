"""What the writing side of an archive works with, and the answers that all of it gives."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from archive.attributes import InstanceAttributes
from archive.disk import Disk
from archive.index.changes import IndexChanges
from archive.index.writer import IndexWriter
from archive.layout import Layout
from archive.storage import Put, Storage
from archive.values import Policy, StoreOutcome, StoreRequest, StoreResult
from dicomrelay.dicom.part10 import FileMeta, encode_file_meta
from dicomrelay.errors import ConflictingInstance

_PREFIX_OFFSET: Final = 128
_PREFIX: Final = b"DICM"
TAKEN_AWAY: Final = "its file was taken away while it was stored: store it again"


@dataclass(frozen=True, slots=True)
class WritingTools:
    """The ports of the writing side.

    Attributes
    ----------
    storage : Storage
        Where stored files are, and what is set aside.
    layout, disk
        Where frame indexes and records of removals are.
    """

    layout: Layout
    disk: Disk
    storage: Storage
    index: IndexWriter
    changes: IndexChanges
    policy: Policy


def wanted(request: StoreRequest) -> Put:
    """What is to be kept: the file as it is, or its data set behind a file meta of ours where it has none. Raises OSError."""
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


def failed(request: StoreRequest, reason: str) -> StoreResult:
    """Nothing was written; another try may do."""
    return StoreResult(request.sop_instance_uid, StoreOutcome.FAILED, reason=reason)


def failed_by(request: StoreRequest, error: OSError) -> StoreResult:
    """The same, in the system's words. The path of a source may be told; one in the archive holds the patient id."""
    is_source = error.filename is not None and str(error.filename) == str(request.source)
    if is_source:
        return failed(request, f"{request.source}: {why(error)}")
    # Whoever removes or replaces the same instance takes a file away between two looks at it; a lost mount does, too.
    advice = ": was it taken away? store it again" if isinstance(error, FileNotFoundError) else ""
    return failed(request, f"instance {request.sop_instance_uid} in the archive: {why(error)}{advice}")


def why(error: OSError) -> str:
    """What the system says, without the path."""
    return error.strerror or type(error).__name__


def relative_path_of(request: StoreRequest, attributes: InstanceAttributes) -> str:
    """Where an instance is kept."""
    return Layout.instance(
        attributes.text("patient_id"),
        request.study_instance_uid,
        request.series_instance_uid,
        request.sop_instance_uid,
    )


def check_same(storage: Storage, request: StoreRequest, relative_path: str) -> int:
    """The size of a file that is in the way: left by a crash, or somebody else's bytes. The data set is its tail.

    Raises
    ------
    ConflictingInstance
        It holds other bytes.
    FileNotFoundError
        It is not in the way any more.
    """
    there = storage.stat(relative_path)
    if there is None:
        raise FileNotFoundError(errno.ENOENT, TAKEN_AWAY)
    offset = there.size_bytes - request.data_set_bytes
    if offset < 0 or storage.digest(relative_path, offset) != request.digest:
        raise ConflictingInstance(f"a file in the place of {request.sop_instance_uid} holds other bytes")
    return there.size_bytes


def keep(tools: WritingTools, put: Callable[[str, Put], int], path: str, what: Put) -> int:
    """Put bytes under the name that says what they are, and return their size; they may be there already."""
    try:
        return put(path, what)
    except FileExistsError:
        there = tools.storage.stat(path)
        offset = there.size_bytes - (what.source.stat().st_size - what.digest_from) if there else -1
        if there is not None and offset >= 0 and tools.storage.digest(path, offset) == what.digest:
            return there.size_bytes
        # Damaged since: the whole one takes its place.
        return tools.storage.put(path, what, over=True)
