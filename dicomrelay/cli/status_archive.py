"""What `dicomrelay status` says of the archive: what it holds, what was removed, what is damaged, what waits for it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from sqlalchemy import bindparam, text

from dicomrelay.cli.ledgers import archive_index
from dicomrelay.cli.operating.words import counted
from dicomrelay.errors import RelayError
from dicomrelay.ledger.engine import Work, chunks
from dicomrelay.ledger.values import Stage, StudySummary, WaitingStage
from dicomrelay.settings import Settings

RETENTION: Final = "retention"
_FEW: Final = 3
_AT_MOST: Final = 1000
# In words, for what reads the archive's tables brings pydicom with it, and a status should be quick.
_HELD: Final = text(
    "SELECT study_instance_uid, instance_count FROM archive_studies WHERE study_instance_uid IN :uids"
).bindparams(bindparam("uids", expanding=True))
_REMOVED: Final = text(
    "SELECT study_instance_uid, count(DISTINCT sop_instance_uid), min(removed_by), max(removed_by) FROM archive_tombstones "
    "WHERE study_instance_uid IN :uids AND NOT EXISTS "
    "(SELECT 1 FROM archive_instances WHERE archive_instances.sop_instance_uid = archive_tombstones.sop_instance_uid) "
    "GROUP BY study_instance_uid"
).bindparams(bindparam("uids", expanding=True))
_THERE: Final = text(
    "SELECT sop_instance_uid FROM archive_instances WHERE sop_instance_uid IN :uids"
).bindparams(bindparam("uids", expanding=True))
_DAMAGED: Final = text("SELECT sop_instance_uid FROM archive_instances WHERE damage IS NOT NULL LIMIT :most")


@dataclass(frozen=True, slots=True)
class Removed:
    """How much of a study was removed and did not come again; `by` is "retention" where nobody else did."""

    instances: int
    by: str


@dataclass(frozen=True, slots=True)
class ArchiveState:
    """What its index says.

    Attributes
    ----------
    held : dict of str to int, optional
        How many instances it holds of each study; None when it cannot be asked: then the ledger's word counts.
    damaged : sequence of str
        SOP Instance UIDs of damaged files, a thousand at most.
    silent : str
        Why it does not answer; "" when it does.
    waiting : sequence of WaitingStage
        What waits for it.
    lone : frozenset of str
        Of the SOP Instance UIDs in conflict those whose first bytes were removed since.
    """

    held: dict[str, int] | None = None
    removed: dict[str, Removed] = field(default_factory=dict)
    damaged: Sequence[str] = ()
    silent: str = ""
    waiting: Sequence[WaitingStage] = ()
    lone: frozenset[str] = frozenset()

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "held": self.held,
            "removed": {uid: asdict(each) for uid, each in self.removed.items()},
            "damaged": list(self.damaged),
            "does_not_answer": self.silent,
            "waiting": [{**asdict(each), "stage": each.stage.value} for each in self.waiting],
        }


def look_at_archive(
    settings: Settings,
    studies: Sequence[StudySummary],
    waiting: Sequence[WaitingStage],
    released: Collection[str] = (),
) -> ArchiveState:
    """Ask the archive's index; not the storage, which may be far away: what waits says whether that answers.

    Parameters
    ----------
    released : collection of str
        SOP Instance UIDs in conflict whose first bytes the spool does not hold any more.
    """
    try:
        with archive_index(settings) as work:
            if work is None:
                return ArchiveState(waiting=waiting)
            return _asked(work, [each.study_instance_uid for each in studies], waiting, list(released))
    except RelayError as error:
        return ArchiveState(silent=str(error), waiting=waiting)


def _asked(
    work: Work, uids: Sequence[str], waiting: Sequence[WaitingStage], released: Sequence[str]
) -> ArchiveState:
    held: dict[str, int] = dict.fromkeys(uids, 0)
    removed: dict[str, Removed] = {}
    for part in chunks(uids):
        held.update((uid, count) for uid, count in work.connection.execute(_HELD, {"uids": part}))
        for uid, count, first, last in work.connection.execute(_REMOVED, {"uids": part}):
            removed[uid] = Removed(count, RETENTION if first == last == RETENTION else "")
    damaged = list(work.connection.execute(_DAMAGED, {"most": _AT_MOST}).scalars())
    there = {
        uid for part in chunks(released) for uid in work.connection.execute(_THERE, {"uids": part}).scalars()
    }
    return ArchiveState(held, removed, damaged, waiting=waiting, lone=frozenset(released) - there)


def archived_words(study: StudySummary, archive: ArchiveState) -> str:
    """Such as "4 archived, 4 frames", or "0 archived, 4 removed from the archive by retention"."""
    count = study.archived
    if archive.held is not None:
        count = min(count, archive.held.get(study.study_instance_uid, 0))
    parts = [f"{count} archived"]
    gone = archive.removed.get(study.study_instance_uid)
    if gone is not None:
        parts.append(f"{gone.instances} removed from the archive{f' by {gone.by}' if gone.by else ''}")
    # How many of the frames went with it is not known here.
    if gone is None or count == study.archived:
        parts.append(counted(study.frames, "frame"))
    return ", ".join(parts)


def archive_lines(archive: ArchiveState) -> Iterator[str]:
    """Why it does not answer, and what waits for it."""
    if archive.silent:
        yield f"archive does not answer: {archive.silent}"
    for each in archive.waiting:
        what = "the archive" if each.stage is Stage.ARCHIVE else "their frames in the archive"
        due = f"in {each.due_in_ms / 1000:.0f} s" if each.due_in_ms >= 500 else "now"
        waits = "waits" if each.instances == 1 else "wait"
        yield (
            f"{counted(each.instances, 'instance')} {waits} for {what} after {counted(each.attempts, 'attempt')}, "
            f"tried again {due}: {each.reason}"
        )


def damaged_line(damaged: Sequence[str]) -> str:
    """What the scrub found."""
    more = f" and {len(damaged) - _FEW} more" if len(damaged) > _FEW else ""
    return (
        f"    {counted(len(damaged), 'damaged archived file')}: {', '.join(damaged[:_FEW])}{more}: "
        "`dicomrelay archive check --damaged` lists them"
    )
