"""One instance put in the place of another one of its UID, whose bytes are set aside first.

docs/design/archive-writing.md tells the steps, and what a crash between any two of them leaves.
"""

from __future__ import annotations

from typing import Final

from archive.attributes import InstanceAttributes, read_attributes
from archive.changing import DELETE, REPLACE, finish_if_possible
from archive.index.changes import Change, Section
from archive.index.entries import NewInstance
from archive.layout import Layout
from archive.made_files import remove_made
from archive.storage import Put
from archive.values import Conflict, StoredInstance, StoreOutcome, StoreRequest, StoreResult
from archive.writing import WritingTools, check_same, relative_path_of, wanted

_REPLACED: Final = "came first, replaced"
_DAMAGED: Final = "was found in the place of what was archived, damaged; replaced"
_GONE: Final = "came first, its file was gone; replaced"


def replace(request: StoreRequest, held: StoredInstance, tools: WritingTools) -> StoreResult | None:
    """Put an instance in the place of what the archive holds under its UID.

    Returns
    -------
    StoreResult or None
        None when the archive does not hold any more what it held: to be judged anew.

    Raises
    ------
    ConflictingInstance
        It has another path than the old one, and that is taken by other bytes.
    ArchiveError, OSError
        It cannot be done; what was held is held.
    ServiceUnavailable, LedgerError
        Index or storage do not work. What is half done is undone when the archive is next opened, if not at once.
    """
    attributes = read_attributes(
        request.source,
        data_set_offset=request.data_set_offset,
        transfer_syntax_uid=request.transfer_syntax_uid,
    )
    path = relative_path_of(request, attributes)
    aside = _set_aside(held, request, tools)
    if path == held.relative_path:
        is_done = _in_place(request, attributes, held, aside, tools)
    else:
        is_done = _elsewhere(request, attributes, path, held, aside, tools)
    if not is_done:
        return None
    remove_made(tools.layout, tools.disk, held)
    return StoreResult(request.sop_instance_uid, StoreOutcome.REPLACED, path, attributes.problem)


def _set_aside(held: StoredInstance, request: StoreRequest, tools: WritingTools) -> Conflict:
    """What is held, kept under the digest that it has now; durable."""

    def conflict(digest: str, path: str, reason: str) -> Conflict:
        return Conflict(held.sop_instance_uid, digest, request.digest, path, held.file_bytes, 0, reason)

    there = tools.storage.stat(held.relative_path)
    if there is None or there.size_bytes < held.data_set_offset:
        return conflict(held.digest, "", _GONE)
    digest = tools.storage.digest(held.relative_path, held.data_set_offset)
    path = Layout.conflict(held.sop_instance_uid, digest)
    if digest == request.digest:
        # Of a replacement that was cut off: it is what comes now.
        return conflict(held.digest, "", _GONE)
    with tools.storage.fetch(held.relative_path, held.digest) as source:
        what = Put(source, digest, held.data_set_offset, may_link=True)
        try:
            tools.storage.put(path, what)
        except FileExistsError:
            copy = tools.storage.stat(path)
            if (
                copy is None
                or tools.storage.digest(path, _head_bytes(copy.size_bytes, there.size_bytes, held)) != digest
            ):
                tools.storage.put(path, what, over=True)
    return conflict(digest, path, _REPLACED if digest == held.digest else _DAMAGED)


def _head_bytes(copy_bytes: int, file_bytes: int, held: StoredInstance) -> int:
    """Where the data set begins in a copy that may have another file meta in front of it."""
    return max(0, copy_bytes - (file_bytes - held.data_set_offset))


def _in_place(
    request: StoreRequest,
    attributes: InstanceAttributes,
    held: StoredInstance,
    aside: Conflict,
    tools: WritingTools,
) -> bool:
    """Over the old file. That can be undone, and the change says so until the commit."""
    path = held.relative_path
    change = Change(
        {"kind": REPLACE, "uid": held.sop_instance_uid, "path": path, "copy": aside.relative_path}
    )
    is_done = False
    with tools.changes.exclusive() as section:
        section.begin(change)
    try:
        with tools.changes.exclusive() as section:
            if _is_as_before(section, held, aside, tools) and section.end(change):
                size = tools.storage.put(path, wanted(request), over=True)
                section.replace(NewInstance(request, attributes, path, size))
                section.record([aside])
                is_done = True
    except BaseException:
        is_done = False
        raise
    finally:
        if not is_done:
            finish_if_possible(tools, change)
    return is_done


def _elsewhere(
    request: StoreRequest,
    attributes: InstanceAttributes,
    path: str,
    held: StoredInstance,
    aside: Conflict,
    tools: WritingTools,
) -> bool:
    """Under another path, since it is another patient's, or of another study or series; then the old file goes."""
    try:
        size = tools.storage.put(path, wanted(request))
    except FileExistsError:
        size = check_same(tools.storage, request, path)
    # Whichever of the two has no row in the end is deleted.
    paths = [path, held.relative_path]
    if aside.relative_path:
        paths.append(aside.relative_path)
    change = Change({"kind": DELETE, "paths": paths})
    is_done = False
    with tools.changes.exclusive() as section:
        section.begin(change)
    try:
        with tools.changes.exclusive() as section:
            is_there = tools.storage.stat(path) is not None
            if is_there and _is_as_before(section, held, aside, tools) and section.has(change):
                section.replace(NewInstance(request, attributes, path, size))
                section.record([aside])
                is_done = True
    finally:
        finish_if_possible(tools, change)
    return is_done


def _is_as_before(section: Section, held: StoredInstance, aside: Conflict, tools: WritingTools) -> bool:
    """Whether the archive holds what it held, and what was set aside is still there: another one may have undone that."""
    now = section.held([held.sop_instance_uid]).get(held.sop_instance_uid)
    return now == held and (not aside.relative_path or tools.storage.stat(aside.relative_path) is not None)
