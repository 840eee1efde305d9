"""What the archive can take responsibility for: presence, SOP class and digest of each instance (PS3.4 Annex J)."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from archive.archive import Archive
from archive.index.commitments import KeptRequest, State, Taken
from archive.values import Selection, StoredInstance
from dicomrelay.dicom.commitment import ReportStatus
from dicomrelay.dimse.commitment_request import (
    ActionRefused,
    CommitmentRequested,
    CommitmentResult,
    Reference,
)
from dicomrelay.errors import ArchiveError, RelayError
from dicomrelay.log import get_logger

__all__ = ["CommitmentDesk", "KeptRequest", "State"]

_log = get_logger("dicomrelay.archive")

PROCESSING_FAILURE: Final = 0x0110
NO_SUCH_INSTANCE: Final = 0x0112
CLASS_INSTANCE_CONFLICT: Final = 0x0119
_AT_ONCE: Final = 500
# The clocks of a spool and of the database may differ by so much.
_CLOCKS_MS: Final = 1000

# The digests of all data sets that came under some SOP Instance UIDs, as a relay around the archive knows them.
Came = Callable[[Sequence[str]], Mapping[str, Collection[str]]]
# Whether something that came until then, in milliseconds since the epoch, waits for a relay to say what it is.
Waits = Callable[[int], bool]


def nothing_came(_sop_instance_uids: Sequence[str]) -> Mapping[str, Collection[str]]:
    """An archive without a relay around it."""
    return {}


def nothing_waits(_until_ms: int) -> bool:
    """The same."""
    return False


@dataclass(slots=True)
class _Looked:
    """What was found of some references."""

    good: set[str] = field(default_factory=set)
    bad: dict[str, int] = field(default_factory=dict)  # for good: SOP Instance UID to Failure Reason
    open: dict[str, int] = field(default_factory=dict)  # it may be another time: what it counts as at the end


class CommitmentDesk:
    """Takes requests, looks after what they name, and keeps what is said of it. Threads may share it.

    Every method raises ServiceUnavailable when the index does not answer.

    Parameters
    ----------
    came, waits : callable
        What a relay around the archive knows; may raise RelayError and OSError, and are asked again later.
    """

    def __init__(self, archive: Archive, came: Came = nothing_came, waits: Waits = nothing_waits) -> None:
        self._archive = archive
        self._came = came
        self._waits = waits
        self.index = archive.commitments

    def take(self, peer_ae_title: str, wanted: CommitmentRequested, *, due_in_ms: int) -> KeptRequest:
        """Keep a request, durable when this returns; one that came before is the one that was kept then.

        Parameters
        ----------
        due_in_ms : int
            For so long nobody else reports on it.

        Raises
        ------
        ActionRefused
            Its Transaction UID was used for something else, or too many requests wait.
        """
        request = json.dumps({"references": wanted.references}, separators=(",", ":"))
        taken, kept = self.index.take(peer_ae_title, wanted.transaction_uid, request, due_in_ms=due_in_ms)
        if kept is not None:
            return kept
        if taken is Taken.FULL:
            raise ActionRefused(ReportStatus.RESOURCE_LIMITATION, "too many requests wait, ask again later")
        raise ActionRefused(
            ReportStatus.INVALID_ARGUMENT_VALUE, "that Transaction UID was used for another request"
        )

    def answered(self, kept: KeptRequest) -> None:
        """The peer has answered its report with Success."""
        self.index.end(kept.id, State.ANSWERED)

    def later(self, kept: KeptRequest, due_in_ms: int, *, attempted: bool = False) -> None:
        """It is looked at again in so long; `attempted` counts an attempt to report."""
        self.index.later(kept.id, due_in_ms=due_in_ms, attempted=attempted)

    def settled(
        self,
        kept: KeptRequest,
        *,
        wait_ms: int,
        keep_going: Callable[[], bool] = lambda: True,
        moved: Callable[[], None] = lambda: None,
    ) -> CommitmentResult | None:
        """What is said of a request, kept from now on; None while it cannot be said yet.

        Parameters
        ----------
        wait_ms : int
            So long after the request what is not here counts as missing.
        keep_going : callable
            Asked between two instances; after a no nothing is said.
        moved : callable
            Called for each instance that was looked at.
        """
        if kept.result is not None:
            return _result(kept.result)
        references = _references(kept.request)
        looked = self._looked(references, self._waits_for(kept), keep_going, moved)
        if looked is None or (looked.open and kept.age_ms < wait_ms):
            return None
        failed = {**looked.bad, **looked.open}
        result = CommitmentResult(
            committed=tuple(each for each in references if each[1] in looked.good),
            failed=tuple((*each, failed[each[1]]) for each in references if each[1] in failed),
        )
        return _result(self.index.resolve(kept.id, _written(result)))

    # ---- inside

    def _waits_for(self, kept: KeptRequest) -> bool:
        """Whether something may have come before the request that would make a conflict."""
        try:
            return self._waits(kept.requested_ms + _CLOCKS_MS)
        except (RelayError, OSError):
            return True

    def _other(self, uids: Sequence[str]) -> Callable[[StoredInstance], bool] | None:
        """Whether other bytes came under the UID of an instance than those that are held; None when nobody can say now."""
        conflicts = self._archive.conflicting(uids)
        try:
            came = self._came(uids)
        except (RelayError, OSError):
            return None
        return lambda stored: (
            stored.sop_instance_uid in conflicts
            or any(digest != stored.digest for digest in came.get(stored.sop_instance_uid, ()))
        )

    def _looked(
        self,
        references: Sequence[Reference],
        waits: bool,
        keep_going: Callable[[], bool],
        moved: Callable[[], None],
    ) -> _Looked | None:
        looked = _Looked()
        for begin in range(0, len(references), _AT_ONCE):
            part = {uid: sop_class for sop_class, uid in references[begin : begin + _AT_ONCE]}
            looked.open.update(dict.fromkeys(part, NO_SUCH_INSTANCE))
            other = None if waits else self._other(tuple(part))
            for stored in self._archive.select(Selection(sop_instance_uids=tuple(part))):
                if not keep_going():
                    return None
                moved()
                self._look(stored, part[stored.sop_instance_uid], other, looked)
        return looked

    def _digest(self, stored: StoredInstance) -> str:
        """That of its file now; "" when there is none. Raises ServiceUnavailable, OSError."""
        storage = self._archive.storage
        try:
            return storage.digest(stored.relative_path, stored.data_set_offset, fresh=True)
        except (FileNotFoundError, ArchiveError):
            storage.require()
            return ""

    def _look(
        self,
        stored: StoredInstance,
        sop_class_uid: str,
        other: Callable[[StoredInstance], bool] | None,
        looked: _Looked,
    ) -> None:
        uid = stored.sop_instance_uid
        del looked.open[uid]
        if stored.sop_class_uid != sop_class_uid:
            looked.bad[uid] = CLASS_INSTANCE_CONFLICT
            return
        if other is None:
            looked.open[uid] = PROCESSING_FAILURE
            return
        if other(stored):
            looked.bad[uid] = PROCESSING_FAILURE
            _log.warning(
                "an instance is not committed to: other bytes came under its UID, and the archive has one of them",
                action="commitment.conflict",
                sop_instance_uid=uid,
            )
            return
        try:
            digest = self._digest(stored)
        except (RelayError, OSError):
            looked.open[uid] = PROCESSING_FAILURE
            return
        if digest == stored.digest:
            looked.good.add(uid)
            return
        looked.bad[uid] = PROCESSING_FAILURE
        _log.error(
            "an instance is not committed to: its file is gone or has other bytes, `dicomrelay archive check` says which",
            action="commitment.damaged",
            sop_instance_uid=uid,
        )


def _references(request: str) -> list[Reference]:
    return [(sop_class, uid) for sop_class, uid in json.loads(request)["references"]]


def _written(result: CommitmentResult) -> str:
    return json.dumps({"committed": result.committed, "failed": result.failed}, separators=(",", ":"))


def _result(text: str) -> CommitmentResult:
    found = json.loads(text)
    return CommitmentResult(
        committed=tuple((sop_class, uid) for sop_class, uid in found["committed"]),
        failed=tuple((sop_class, uid, reason) for sop_class, uid, reason in found["failed"]),
    )
