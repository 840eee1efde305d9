"""What the archive may let go of: whole studies, oldest first, and never what somebody still has to get.

docs/design/archive-storage.md has the rules. Whether something was delivered is asked of a port; what is removed leaves a
tombstone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

from archive.index.ages import StudyAge
from archive.values import Selection, StoredInstance
from dicomrelay.dicom.wildcards import Wildcards
from dicomrelay.settings.storage import ArchiveRetentionSettings

if TYPE_CHECKING:
    from archive.archive import Archive

BY: Final = "retention"
_DAY_MS: Final = 86_400_000
_TOGETHER: Final = 500


class Stays(StrEnum):
    """Why a study stays though it is old enough."""

    UNDELIVERED = "something of it is still to be delivered, confirmed, or was refused"
    UNDOCUMENTED = "the ledger does not know all of it"
    IN_WORK = "something of it is still being archived or prepared"
    CONFLICT = "other bytes came under a UID of it, and somebody is to decide which are right"
    HELD = "somebody holds it: `dicomrelay jobs release` lets it go"
    OTHER_BYTES = "the ledger knows other bytes of it than the archive holds"
    DAMAGED = "something of it is damaged: see to that first"
    YOUNG = "something of it is younger than archive.retention.min_days"


class Deliveries(Protocol):
    """Who knows what is still needed."""

    def needed(self, stored: Sequence[StoredInstance]) -> Mapping[str, Stays]:
        """Of these instances those that must stay, by SOP Instance UID. Raises ServiceUnavailable when it cannot be asked."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A study that age or size would let go.

    Attributes
    ----------
    reason : str
        Which bound says so; it becomes the reason of the tombstones.
    stays : Stays, optional
        Why it stays all the same; None when it goes.
    uids : tuple of str
        The SOP Instance UIDs that were asked about and may go.
    """

    study_instance_uid: str
    instances: int
    bytes: int
    reason: str
    stays: Stays | None = None
    uids: tuple[str, ...] = field(default=(), repr=False)


def candidates(
    archive: Archive,
    settings: ArchiveRetentionSettings,
    deliveries: Deliveries,
    *,
    with_young: bool = False,
) -> Iterator[Candidate]:
    """Every study that a bound would let go, oldest first, and whether it does. Nothing is removed.

    The archive is taken to be smaller by what was said to go: this is a dry run, and `run` is the same with deeds.

    Parameters
    ----------
    with_young : bool
        Also those that stay because they are younger than `min_days`: all of the archive is looked at then.

    Raises
    ------
    ServiceUnavailable
        Index or ledger do not answer: then nothing more goes.
    """
    if not settings.is_on:
        return
    total = archive.health.totals()[1]
    now = archive.health.now_ms()
    newest = now - round(settings.min_days * _DAY_MS)
    for study in archive.ages.oldest_first(created_before_ms=now + 1 if with_young else newest):
        reason = _reason(settings, study, now, total)
        is_young = study.last_stored_ms > newest
        if not reason or (is_young and not with_young):
            continue
        uids: list[str] = []
        stays = Stays.YOUNG if is_young else _stays(archive, study, settings, deliveries, uids)
        if stays is None:
            total -= study.bytes
        yield Candidate(
            study.study_instance_uid,
            study.instances,
            study.bytes,
            reason,
            stays,
            () if stays else tuple(uids),
        )


def run(
    archive: Archive,
    settings: ArchiveRetentionSettings,
    deliveries: Deliveries,
    *,
    remove: Callable[[Archive, Selection, str], int],
    stop: Callable[[], bool] = lambda: False,
    with_young: bool = False,
) -> Iterator[Candidate]:
    """Let go of what may go, study by study; each is told once it is gone, or with the reason why it stays.

    Parameters
    ----------
    remove : callable
        Removes a selection for a reason, with tombstones; how many instances it was.
    stop : callable
        True when no further study is to be begun.
    with_young : bool
        As of `candidates`.
    """
    for candidate in candidates(archive, settings, deliveries, with_young=with_young):
        if stop():
            return
        if candidate.stays is None and not settings.dry_run:
            # Those that were asked about, by name: one that comes just now stays.
            for start in range(0, len(candidate.uids), _TOGETHER):
                some = candidate.uids[start : start + _TOGETHER]
                remove(archive, Selection(sop_instance_uids=some), candidate.reason)
        yield candidate


def _reason(settings: ArchiveRetentionSettings, study: StudyAge, now_ms: int, total: int) -> str:
    """Which bound lets a study go; "" when none does."""
    for rule in settings.rules:
        if _fits(rule.modality, study.modalities):
            if now_ms - study.last_stored_ms >= rule.days * _DAY_MS:
                return f"retention: {rule.days:g} days are over"
            break
    if settings.max_bytes is not None and total > settings.max_bytes:
        return f"retention: the archive holds more than {settings.max_bytes} bytes"
    return ""


def _fits(patterns: Sequence[str], modalities: Sequence[str]) -> bool:
    """Every modality is one of those; a study that has none fits only a rule for any."""
    if not patterns:
        return True
    return bool(modalities) and all(
        any(Wildcards(pattern).matches(modality) for pattern in patterns) for modality in modalities
    )


def _stays(
    archive: Archive,
    study: StudyAge,
    settings: ArchiveRetentionSettings,
    deliveries: Deliveries,
    uids: list[str],
) -> Stays | None:
    """Why it stays; None when it goes, and then `uids` are those that may."""
    if study.damaged:
        return Stays.DAMAGED
    page: list[StoredInstance] = []
    for stored in archive.instances(study.study_instance_uid):
        page.append(stored)
        uids.append(stored.sop_instance_uid)
        if len(page) == _TOGETHER:
            if (why := _needed(deliveries, page, settings)) is not None:
                return why
            page = []
    return _needed(deliveries, page, settings)


def _needed(
    deliveries: Deliveries, page: Sequence[StoredInstance], settings: ArchiveRetentionSettings
) -> Stays | None:
    for why in deliveries.needed(page).values():
        if why is not Stays.UNDOCUMENTED or not settings.undocumented:
            return why
    return None
