"""Instances put in the place of others of their UIDs, whose bytes are set aside first. Many at a time: flushes are shared.

docs/design/archive-writing.md tells the steps, and what a crash between any two of them leaves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from archive.attributes import InstanceAttributes, read_attributes
from archive.changing import DELETE, REPLACE, finish_if_possible
from archive.index.changes import Change, Section
from archive.index.entries import NewInstance
from archive.layout import Layout
from archive.made_files import remove_made
from archive.putting_back import take_back
from archive.storage import Put, Replacing, Writing
from archive.values import Conflict, StoredInstance, StoreOutcome, StoreRequest, StoreResult
from archive.writing import WritingTools, check_same, keep, relative_path_of, wanted
from dicomrelay.errors import ArchiveError

_REPLACED: Final = "came first, replaced"
_DAMAGED: Final = "was found in the place of what was archived, damaged; replaced"
_GONE: Final = "came first, its file was gone; replaced"


@dataclass(slots=True)
class _Exchange:
    """One of them on its way; `outcome` is None as long as nothing is known of it."""

    request: StoreRequest
    held: StoredInstance
    attributes: InstanceAttributes
    path: str
    aside: Conflict
    change: Change
    outcome: Outcome | None = None


Outcome: TypeAlias = StoreResult | ArchiveError | OSError


def replace(
    wanted_ones: Sequence[tuple[StoreRequest, StoredInstance]], tools: WritingTools
) -> list[Outcome | None]:
    """Put instances in the place of what the archive holds under their UIDs.

    Parameters
    ----------
    wanted_ones : sequence
        What comes, and what is held; each of another UID.

    Returns
    -------
    list
        Of each the result; why it cannot be done, and then what was held is held (ConflictingInstance: it has another path
        than the old one, and that is taken by other bytes); None when the archive does not hold any more what it held, and
        it is to be judged anew.

    Raises
    ------
    ServiceUnavailable, LedgerError
        Index or storage do not work. What is half done is undone when the archive is next opened, if not at once.
    """
    outcomes: list[Outcome | None] = [None] * len(wanted_ones)
    begun: dict[int, _Exchange] = {}
    writing = tools.storage.writing()
    for number, (request, held) in enumerate(wanted_ones):
        try:
            begun[number] = _begun(request, held, writing, tools)
        except (ArchiveError, OSError) as error:
            outcomes[number] = error
    refused: Mapping[str, OSError]
    try:
        refused = writing.flush()
    except OSError as error:
        refused = dict.fromkeys((each.aside.relative_path for each in begun.values()), error)
    for each in begun.values():
        why = refused.get(each.aside.relative_path)
        # Under the name of its digest another one can only have put the same bytes.
        if why is not None and not isinstance(why, FileExistsError):
            each.outcome = why
    here = [each for each in begun.values() if each.path == each.held.relative_path]
    _in_place([each for each in here if each.outcome is None], tools)
    for each in begun.values():
        if each.path != each.held.relative_path and each.outcome is None:
            try:
                _elsewhere(each, tools)
            except (ArchiveError, OSError) as error:
                each.outcome = error
    for number, each in begun.items():
        outcomes[number] = each.outcome
        if isinstance(each.outcome, StoreResult):
            remove_made(tools.layout, tools.disk, each.held)
    take_back(
        tools,
        {
            each.held.sop_instance_uid: each.aside.relative_path
            for each in begun.values()
            if isinstance(each.outcome, ArchiveError | OSError) and each.aside.relative_path
        },
    )
    return outcomes


def _begun(request: StoreRequest, held: StoredInstance, writing: Writing, tools: WritingTools) -> _Exchange:
    """What is held is set aside. Raises ArchiveError, OSError."""
    attributes = read_attributes(
        request.source,
        data_set_offset=request.data_set_offset,
        transfer_syntax_uid=request.transfer_syntax_uid,
    )
    path = relative_path_of(request, attributes)
    aside = _set_aside(held, request, writing, tools)
    # The change is of one that takes the same place; the other one has its own.
    change = Change(
        {"kind": REPLACE, "uid": held.sop_instance_uid, "path": path, "copy": aside.relative_path}
    )
    return _Exchange(request, held, attributes, path, aside, change)


def _set_aside(
    held: StoredInstance, request: StoreRequest, writing: Writing, tools: WritingTools
) -> Conflict:
    """What is held, kept under the digest that it has now; durable once `writing` is flushed."""

    def conflict(digest: str, path: str, size: int, reason: str) -> Conflict:
        return Conflict(held.sop_instance_uid, digest, request.digest, path, size, 0, reason)

    there = tools.storage.stat(held.relative_path)
    if there is None or there.size_bytes < held.data_set_offset:
        return conflict(held.digest, "", held.file_bytes, _GONE)
    digest = tools.storage.digest(held.relative_path, held.data_set_offset)
    if digest == request.digest:
        # Of a replacement that was cut off: it is what comes now.
        return conflict(held.digest, "", held.file_bytes, _GONE)
    path = Layout.conflict(held.sop_instance_uid, digest)
    with tools.storage.fetch(held.relative_path, held.digest) as source:
        size = keep(tools, writing.put, path, Put(source, digest, held.data_set_offset, may_link=True))
    return conflict(digest, path, size, _REPLACED if digest == held.digest else _DAMAGED)


def _in_place(exchanges: Sequence[_Exchange], tools: WritingTools) -> None:
    """Over the old files. That can be undone, and the changes say so until the commit.

    Everything that takes time is done before the section in which nobody else writes: there, files only get their names.
    """
    with tools.storage.replacing() as ready:
        _make_ready(exchanges, ready)
        left = [each for each in exchanges if each.outcome is None]
        if not left:
            return
        with tools.changes.exclusive() as section:
            for each in left:
                section.begin(each.change)
        results: dict[str, Outcome] = {}
        is_done = False
        try:
            with tools.changes.exclusive() as section:
                results = _exchanged(left, ready, section, tools)
            is_done = True
        finally:
            for each in left:
                each.outcome = results.get(each.held.sop_instance_uid) if is_done else None
                if not isinstance(each.outcome, StoreResult):
                    finish_if_possible(tools, each.change)


def _make_ready(exchanges: Sequence[_Exchange], ready: Replacing) -> None:
    for each in exchanges:
        try:
            ready.add(each.path, wanted(each.request))
        except (ArchiveError, OSError) as error:
            each.outcome = error
    refused = ready.flush()
    for each in exchanges:
        each.outcome = each.outcome or refused.get(each.path)


def _exchanged(
    exchanges: Sequence[_Exchange], ready: Replacing, section: Section, tools: WritingTools
) -> dict[str, Outcome]:
    """Those that are in their places, and those that cannot be; of the rest the archive holds something else now."""
    now = section.held([each.held.sop_instance_uid for each in exchanges])
    results: dict[str, Outcome] = {}
    new: list[NewInstance] = []
    asides: list[Conflict] = []
    for each in exchanges:
        uid = each.held.sop_instance_uid
        if now.get(uid) != each.held or not _is_aside(each, tools) or not section.has(each.change):
            continue
        try:
            size = ready.put(each.path)
        except (ArchiveError, OSError) as error:
            results[uid] = error
            continue
        section.end(each.change)
        new.append(NewInstance(each.request, each.attributes, each.path, size))
        asides.append(each.aside)
        results[uid] = StoreResult(uid, StoreOutcome.REPLACED, each.path, each.attributes.problem)
    ready.settle()
    section.replace(new)
    section.record(asides)
    return results


def _elsewhere(each: _Exchange, tools: WritingTools) -> None:
    """Under another path, since it is another patient's, or of another study or series; then the old file goes."""
    request, held, path = each.request, each.held, each.path
    try:
        size = tools.storage.put(path, wanted(request))
    except FileExistsError:
        size = check_same(tools.storage, request, path)
    # Whichever of the two has no row in the end is deleted.
    paths = [path, held.relative_path]
    if each.aside.relative_path:
        paths.append(each.aside.relative_path)
    change = Change({"kind": DELETE, "paths": paths})
    is_done = False
    with tools.changes.exclusive() as section:
        section.begin(change)
    try:
        with tools.changes.exclusive() as section:
            is_there = tools.storage.stat(path) is not None
            now = section.held([held.sop_instance_uid]).get(held.sop_instance_uid)
            if is_there and now == held and _is_aside(each, tools) and section.has(change):
                section.replace([NewInstance(request, each.attributes, path, size)])
                section.record([each.aside])
                is_done = True
    finally:
        finish_if_possible(tools, change)
    if is_done:
        problem = each.attributes.problem
        each.outcome = StoreResult(request.sop_instance_uid, StoreOutcome.REPLACED, path, problem)


def _is_aside(each: _Exchange, tools: WritingTools) -> bool:
    """Whether what was set aside is still there: another one may have undone that."""
    return not each.aside.relative_path or tools.storage.stat(each.aside.relative_path) is not None
