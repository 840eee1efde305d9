"""Storing a batch: files, names, then the index, so that a crash at any step leaves what the next try understands.

Order (docs/design/archive.md): file in place (link, or copy and flush), folders flushed, one index transaction. The file
without an index row is the only thing that a crash can leave beside temporary names; the next try finds it, compares
digests and puts it into the index. What meets other bytes, or a damaged file, is dealt with after the rest is durable.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from archive.attributes import read_attributes
from archive.conflicts import settle_conflicts
from archive.head_digest import head_digest
from archive.index.writer import Known, NewInstance
from archive.putting_back import put_back, take_back
from archive.storage import Writing
from archive.values import StoreOutcome, StoreRequest, StoreResult
from archive.writing import (
    TAKEN_AWAY,
    WritingTools,
    check_same,
    failed,
    failed_by,
    relative_path_of,
    wanted,
    why,
)
from dicomrelay.errors import ArchiveError, ConflictingInstance


@dataclass(slots=True)
class _Batch:
    """A batch on its way.

    Attributes
    ----------
    results : dict
        By the place of the request.
    new, first : dict
        What is to become a row, by SOP Instance UID, and the place of its request; `created` of them are files of ours.
    clashing, damaged, repeated : list of int
        Requests that are dealt with once the rest is durable.
    """

    tools: WritingTools
    requests: Sequence[StoreRequest]
    writing: Writing
    results: dict[int, StoreResult] = field(default_factory=dict)
    new: dict[str, NewInstance] = field(default_factory=dict)
    first: dict[str, int] = field(default_factory=dict)
    created: dict[str, str] = field(default_factory=dict)
    clashing: list[int] = field(default_factory=list)
    damaged: list[int] = field(default_factory=list)
    repeated: list[int] = field(default_factory=list)


def store_batch(requests: Sequence[StoreRequest], tools: WritingTools) -> list[StoreResult]:
    """Store a batch; durable when it returns. Raises ServiceUnavailable or LedgerError when index or storage do not work."""
    batch = _Batch(tools, requests, tools.storage.writing())
    known = tools.index.known([request.sop_instance_uid for request in requests])
    for number, answer in _all_begun(batch, known):
        if answer is not None:
            batch.results[number] = answer
    step = "files or folders cannot be flushed"
    try:
        refused = batch.writing.flush()
        step = "what was put there cannot be looked at"
        _not_kept(batch, refused)
        _into_the_index(batch)
    except OSError as error:
        # What a failed flush left on the disk is unknown, and flushing again would not tell (never retry an fsync).
        take_back(tools, batch.created)
        for uid, number in batch.first.items():
            batch.results[number] = StoreResult(uid, StoreOutcome.FAILED, reason=f"{step}: {why(error)}")
    for number in batch.damaged:
        batch.results[number] = put_back(tools, requests[number])
    for number in batch.repeated:
        _compare_with_first(batch, number)
    batch.clashing.sort()
    settled = settle_conflicts([requests[number] for number in batch.clashing], tools)
    batch.results.update(zip(batch.clashing, settled, strict=True))
    return [batch.results[number] for number in range(len(requests))]


def _all_begun(batch: _Batch, known: Mapping[str, Known]) -> Iterator[tuple[int, StoreResult | None]]:
    """Each of the batch, several at a time where the storage likes that; of two with one UID the second after the first."""
    uids = [request.sop_instance_uid for request in batch.requests]

    def begin(number: int) -> tuple[int, StoreResult | None]:
        return number, _begin(batch, number, known.get(uids[number]))

    at_once = batch.tools.storage.at_once
    if at_once == 1 or len(uids) == 1:
        yield from map(begin, range(len(uids)))
        return
    firsts: dict[str, int] = {}
    for number, uid in enumerate(uids):
        firsts.setdefault(uid, number)
    with ThreadPoolExecutor(at_once, thread_name_prefix="store") as pool:
        yield from pool.map(begin, firsts.values())
    yield from (begin(number) for number, uid in enumerate(uids) if firsts[uid] != number)


def _begin(batch: _Batch, number: int, known: Known | None) -> StoreResult | None:
    """Put a file under its name; an answer where nothing is left to do."""
    request = batch.requests[number]
    uid = request.sop_instance_uid
    if _is_repeated(batch, number):
        return None
    try:
        if known is None:
            _place(batch, number)
            return None
        if known.digest != request.digest:
            batch.clashing.append(number)
            return None
        there = batch.tools.storage.stat(known.relative_path)
        if there is None or there.size_bytes != known.file_bytes or known.is_damaged:
            batch.damaged.append(number)
            return None
    except ConflictingInstance:
        batch.clashing.append(number)
        return None
    except ArchiveError as error:
        return failed(request, str(error))
    except OSError as error:
        return failed_by(request, error)
    return StoreResult(uid, StoreOutcome.ALREADY_THERE, known.relative_path)


def _is_repeated(batch: _Batch, number: int) -> bool:
    """Whether its UID came before in the batch: then it is dealt with after that one."""
    uid = batch.requests[number].sop_instance_uid
    if uid in batch.new:
        batch.repeated.append(number)
        return True
    if any(batch.requests[other].sop_instance_uid == uid for other in batch.clashing):
        # In their order: under `replace` the last one stays.
        batch.clashing.append(number)
        return True
    return False


def _place(batch: _Batch, number: int) -> None:
    """Put the file of a new instance under its name. Raises ConflictingInstance, ArchiveError, OSError, ServiceUnavailable."""
    request = batch.requests[number]
    uid = request.sop_instance_uid
    expected = request.data_set_offset + request.data_set_bytes
    actual = request.source.stat().st_size
    if actual != expected:
        raise ArchiveError(f"the file has {actual} bytes where {expected} were announced")
    attributes = read_attributes(
        request.source,
        data_set_offset=request.data_set_offset,
        transfer_syntax_uid=request.transfer_syntax_uid,
    )
    relative_path = relative_path_of(request, attributes)
    what = wanted(request)
    head = head_digest(what)
    try:
        size = batch.writing.put(relative_path, what)
        batch.created[uid] = relative_path
    except FileExistsError:
        try:
            size = check_same(batch.tools.storage, request, relative_path)
        except FileNotFoundError:
            raise ArchiveError(TAKEN_AWAY) from None
        # Its data set is the same; what is in front of it may be of another sender.
        head = ""
    batch.new[uid] = NewInstance(request, attributes, relative_path, size, head)
    batch.first[uid] = number


def _not_kept(batch: _Batch, refused: Mapping[str, OSError]) -> None:
    """What could not be kept in the end: somebody else was first, or the system said no."""
    if not refused:
        return
    for uid, path in list(batch.created.items()):
        error = refused.get(path)
        if error is None:
            continue
        del batch.created[uid]
        number = batch.first[uid]
        request = batch.requests[number]
        try:
            if not isinstance(error, FileExistsError):
                raise error
            size = check_same(batch.tools.storage, request, path)
            batch.new[uid] = replace(batch.new[uid], file_bytes=size)
            continue
        except ConflictingInstance:
            batch.clashing.append(number)
        except ArchiveError as caught:
            batch.results[number] = failed(request, str(caught))
        except OSError as caught:
            batch.results[number] = failed_by(request, caught)
        del batch.new[uid]


def _into_the_index(batch: _Batch) -> None:
    """One transaction for all; then a look at what the index holds, for another process may have been first."""
    if not batch.new:
        return
    storage = batch.tools.storage
    before = storage.stats([item.relative_path for item in batch.new.values()])

    def are_there(new: Sequence[NewInstance]) -> list[bool]:
        now = storage.stats([item.relative_path for item in new])
        return [then is not None and then == each for then, each in zip(before, now, strict=True)]

    held, taken = batch.tools.changes.add(list(batch.new.values()), are_there=are_there)
    elsewhere: dict[str, str] = {}
    for uid, item in batch.new.items():
        number, winner = batch.first[uid], held.get(uid)
        if uid in taken or winner is None:
            batch.results[number] = StoreResult(uid, StoreOutcome.FAILED, reason=TAKEN_AWAY)
            continue
        if winner.relative_path != item.relative_path and uid in batch.created:
            elsewhere[uid] = batch.created[uid]
        if winner.digest != item.request.digest:
            batch.clashing.append(number)
        elif winner.relative_path != item.relative_path:
            batch.results[number] = StoreResult(uid, StoreOutcome.ALREADY_THERE, winner.relative_path)
        else:
            batch.results[number] = StoreResult(
                uid, StoreOutcome.STORED, item.relative_path, item.attributes.problem
            )
    take_back(batch.tools, elsewhere)


def _compare_with_first(batch: _Batch, number: int) -> None:
    """An instance that came before in the same batch."""
    request = batch.requests[number]
    first = batch.first[request.sop_instance_uid]
    if request.digest != batch.requests[first].digest:
        batch.clashing.append(number)
        return
    result = batch.results.get(first)
    if result is None:  # it clashes itself
        batch.clashing.append(number)
    elif result.outcome is StoreOutcome.STORED:
        batch.results[number] = StoreResult(
            request.sop_instance_uid, StoreOutcome.ALREADY_THERE, result.relative_path
        )
    else:
        batch.results[number] = result
