"""A damaged file put back, and files taken back: each in a section of its own, after a look at the rows."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from archive.index.writer import FileSize
from archive.storage import Storage, StoredObject
from archive.values import StoredInstance, StoreOutcome, StoreRequest, StoreResult
from archive.writing import WritingTools, failed, failed_by, wanted
from dicomrelay.errors import ArchiveError

_TURNS: Final = 5


def put_back(tools: WritingTools, request: StoreRequest) -> StoreResult:
    """Put an instance of the index back in its place when its file is gone or damaged.

    Raises
    ------
    ServiceUnavailable, LedgerError
        Index or storage do not work.
    """
    uid = request.sop_instance_uid
    try:
        for _ in range(_TURNS):
            held = tools.changes.held(uid)
            if held is None or held.digest != request.digest:
                return failed(request, f"instance {uid} was changed while it was stored: store it again")
            there = tools.storage.stat(held.relative_path)
            is_whole = there is not None and _is_whole(tools.storage, held, there)
            is_back = _found_whole(tools, held, there) if is_whole else _put_over(tools, request, held, there)
            if is_back:
                return StoreResult(uid, StoreOutcome.ALREADY_THERE, held.relative_path)
    except ArchiveError as error:
        return failed(request, str(error))
    except OSError as error:
        return failed_by(request, error)
    return failed(request, f"instance {uid} is being changed by others: store it again")


def _put_over(
    tools: WritingTools, request: StoreRequest, held: StoredInstance, there: StoredObject | None
) -> bool:
    """Read and written before the section, in which it only gets its name; False when row or file have changed since."""
    uid, path = request.sop_instance_uid, held.relative_path
    with tools.storage.replacing() as ready:
        ready.add(path, wanted(request))
        for error in ready.flush().values():
            raise error
        with tools.changes.exclusive() as section:
            if section.held([uid]).get(uid) != held or tools.storage.stat(path) != there:
                return False
            size = ready.put(path)
            ready.settle()
            # The same data set, perhaps behind another file meta: its digest is forgotten in any case.
            section.resize(uid, FileSize(size, size - request.data_set_bytes))
    return True


def _found_whole(tools: WritingTools, held: StoredInstance, there: StoredObject | None) -> bool:
    """Somebody put it back already, and it was read just now; False when row or file have changed since."""
    uid = held.sop_instance_uid
    with tools.changes.exclusive() as section:
        if section.held([uid]).get(uid) != held or tools.storage.stat(held.relative_path) != there:
            return False
        section.resize(uid, FileSize(held.file_bytes, held.data_set_offset))
    return True


def _is_whole(storage: Storage, held: StoredInstance, there: StoredObject) -> bool:
    """Whether a stored file is what was archived: it is here because somebody said that it is not."""
    if there.size_bytes != held.file_bytes:
        return False
    return storage.digest(held.relative_path, held.data_set_offset, fresh=True) == held.digest


def take_back(tools: WritingTools, created: Mapping[str, str]) -> None:
    """Remove files that were put somewhere for nothing, by SOP Instance UID, unless somebody took them for his own."""
    if not created:
        return
    with tools.changes.exclusive() as section:
        listed = section.listed(list(created.values()))
        for path in created.values():
            if path not in listed:
                _delete(tools.storage, path)


def _delete(storage: Storage, path: str) -> None:
    # What cannot be removed is a file without a row, which the next try finds.
    with suppress(OSError):
        storage.delete(path)
