"""Other bytes under a SOP Instance UID that the archive holds: set aside, put in the place of what is held, or refused.

docs/design/archive-writing.md has the policies and what a crash leaves; whatever is not served is listed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from archive.layout import Layout
from archive.replacing import replace
from archive.values import Conflict, Policy, StoredInstance, StoreOutcome, StoreRequest, StoreResult
from archive.writing import WritingTools, failed, failed_by, keep, wanted
from dicomrelay.errors import ArchiveError, ConflictingInstance

_TURNS: Final = 5
# Replacements of one round of flushes, and of one exclusive section.
_TOGETHER: Final = 100
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
        return _replaced(requests, tools)
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


def _conflict(uid: str, what: str) -> StoreResult:
    reason = f"the archive holds other bytes under {uid}: {what}, as archive.policy says"
    return StoreResult(uid, StoreOutcome.CONFLICT, reason=reason)


def _replaced(requests: Sequence[StoreRequest], tools: WritingTools) -> list[StoreResult]:
    """In their order: of several of one UID the last one stays."""
    results: dict[int, StoreResult] = {}
    group: dict[str, int] = {}
    for number, request in enumerate(requests):
        if request.sop_instance_uid in group or len(group) == _TOGETHER:
            results |= _replaced_together({each: requests[each] for each in group.values()}, tools)
            group = {}
        group[request.sop_instance_uid] = number
    results |= _replaced_together({each: requests[each] for each in group.values()}, tools)
    return [results[number] for number in range(len(requests))]


def _replaced_together(requests: Mapping[int, StoreRequest], tools: WritingTools) -> dict[int, StoreResult]:
    """Each of another UID; judged anew as long as somebody else is quicker."""
    results: dict[int, StoreResult] = {}
    left = dict(requests)
    for _ in range(_TURNS):
        held = tools.changes.held_all([request.sop_instance_uid for request in left.values()])
        wanted: dict[int, tuple[StoreRequest, StoredInstance]] = {}
        for number, request in left.items():
            stored = held.get(request.sop_instance_uid)
            if stored is None:
                # A file in the way that no row knows.
                results[number] = _set_aside([request], tools)[0]
            elif stored.digest == request.digest:
                path = stored.relative_path
                results[number] = StoreResult(request.sop_instance_uid, StoreOutcome.ALREADY_THERE, path)
            else:
                wanted[number] = request, stored
        outcomes = replace([*wanted.values()], tools)
        left = {}
        for number, outcome in zip(wanted, outcomes, strict=True):
            if outcome is None:
                left[number] = requests[number]
            else:
                results[number] = _answer(requests[number], outcome, tools)
        if not left:
            return results
    for number, request in left.items():
        words = f"instance {request.sop_instance_uid} is being changed by others: store it again"
        results[number] = failed(request, words)
    return results


def _answer(
    request: StoreRequest, outcome: StoreResult | ArchiveError | OSError, tools: WritingTools
) -> StoreResult:
    if isinstance(outcome, ConflictingInstance):
        return _set_aside([request], tools)[0]
    if isinstance(outcome, ArchiveError):
        return failed(request, str(outcome))
    if isinstance(outcome, OSError):
        return failed_by(request, outcome)
    return outcome
