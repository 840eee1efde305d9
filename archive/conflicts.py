"""Other bytes under a SOP Instance UID that the archive holds: set aside, put in the place of what is held, or refused.

docs/design/archive-writing.md has the policies and what a crash leaves; whatever is not served is listed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from archive.layout import Layout
from archive.replacing import replace
from archive.storage import Put
from archive.values import Conflict, Policy, StoreOutcome, StoreRequest, StoreResult
from archive.writing import WritingTools, failed, failed_by, wanted
from dicomrelay.errors import ArchiveError, ConflictingInstance

_TURNS: Final = 5
_SET_ASIDE: Final = "came later, set aside"
_REFUSED: Final = "came later, refused by the policy"


def settle_conflicts(requests: Sequence[StoreRequest], tools: WritingTools) -> list[StoreResult]:
    """Do with other bytes as the policy says; durable and listed when it returns.

    Raises
    ------
    ServiceUnavailable, LedgerError
        Index or storage do not work.
    """
    if not requests:
        return []
    if tools.policy is Policy.REPLACE:
        return [_replaced(request, tools) for request in requests]
    return _set_aside(requests, tools)


def _set_aside(requests: Sequence[StoreRequest], tools: WritingTools) -> list[StoreResult]:
    known = tools.index.known([request.sop_instance_uid for request in requests])
    writing = tools.storage.writing()
    found: list[Conflict] = []
    results: list[StoreResult] = []
    for request in requests:
        uid = request.sop_instance_uid
        if uid in known and known[uid].digest == request.digest:
            results.append(StoreResult(uid, StoreOutcome.ALREADY_THERE, known[uid].relative_path))
            continue
        path, size = "", request.data_set_offset + request.data_set_bytes
        try:
            if tools.policy is not Policy.REFUSE:
                path = Layout.conflict(uid, request.digest)
                size = keep(tools, writing.put, path, wanted(request))
        except ArchiveError as error:
            results.append(failed(request, str(error)))
            continue
        except OSError as error:
            results.append(failed_by(request, error))
            continue
        kept = known[uid].digest if uid in known else ""
        found.append(Conflict(uid, request.digest, kept, path, size, 0, _SET_ASIDE if path else _REFUSED))
        results.append(_conflict(uid, "these are set aside" if path else "these are refused"))
    try:
        refused = writing.flush()
    except OSError as error:
        return [failed_by(request, error) for request in requests]
    # Under the name of its digest another one can only have put the same bytes.
    lost = {path: error for path, error in refused.items() if not isinstance(error, FileExistsError)}
    tools.changes.record([each for each in found if each.relative_path not in lost])
    if not lost:
        return results
    return [
        failed_by(request, lost[path])
        if (path := Layout.conflict(request.sop_instance_uid, request.digest)) in lost
        else result
        for request, result in zip(requests, results, strict=True)
    ]


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


def _conflict(uid: str, what: str) -> StoreResult:
    reason = f"the archive holds other bytes under {uid}: {what}, as archive.policy says"
    return StoreResult(uid, StoreOutcome.CONFLICT, reason=reason)


def _replaced(request: StoreRequest, tools: WritingTools) -> StoreResult:
    """Judged anew as long as somebody else is quicker."""
    uid = request.sop_instance_uid
    try:
        for _ in range(_TURNS):
            held = tools.changes.held(uid)
            if held is None:
                # A file in the way that no row knows.
                return _set_aside([request], tools)[0]
            if held.digest == request.digest:
                return StoreResult(uid, StoreOutcome.ALREADY_THERE, held.relative_path)
            result = replace(request, held, tools)
            if result is not None:
                return result
    except ConflictingInstance:
        return _set_aside([request], tools)[0]
    except ArchiveError as error:
        return failed(request, str(error))
    except OSError as error:
        return failed_by(request, error)
    return failed(request, f"instance {uid} is being changed by others: store it again")
