"""What is to be fetched, how it is asked for, and what an attempt came to: values, no I/O (docs/design/pulls.md)."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from pydicom.dataset import Dataset

from dicomrelay.dicom.query_models import Level
from dicomrelay.dicom.query_status import Finality, finality
from dicomrelay.ledger.values_pulls import Fetched, Missing, PriorsRule, Proof
from dicomrelay.net.query_retrieve import Conclusion

# What a source told of something, by keyword; what it did not tell is not in it.
Told = Mapping[str, Sequence[str]]
_UIDS_AT_ONCE: Final = 100
# From this attempt on whole series: not every source takes a list of UIDs.
_COARSE_FROM: Final = 3


@dataclass(frozen=True, slots=True)
class Announced:
    """What a source says it has of a study, or of one series of it.

    Attributes
    ----------
    instances : mapping of str to str, optional
        SOP Instance UID to Series Instance UID; None when it does not list them.
    sop_classes : frozenset of str
        SOP Class UIDs that it named with them; some may be missing.
    count : int, optional
        How many there are, as far as anybody says.
    """

    instances: Mapping[str, str] | None
    sop_classes: frozenset[str] = frozenset()
    count: int | None = None

    @property
    def is_nothing(self) -> bool:
        """Whether the source says that it has nothing of it."""
        return self.instances is not None and not self.instances


@dataclass(frozen=True, slots=True)
class Request:
    """One C-MOVE or C-GET: unique keys of a level and those above it (PS3.4 Section C.4.2.2.1)."""

    level: Level
    study: str
    series: str = ""
    instances: tuple[str, ...] = ()

    def identifier(self) -> Dataset:
        """Its identifier."""
        identifier = Dataset()
        identifier.QueryRetrieveLevel = self.level.value
        identifier.StudyInstanceUID = self.study
        if self.level in (Level.SERIES, Level.IMAGE):
            identifier.SeriesInstanceUID = self.series
        if self.level is Level.IMAGE:
            identifier.SOPInstanceUID = list(self.instances) if len(self.instances) > 1 else self.instances[0]
        return identifier


def requests(
    study: str, series: str, announced: Mapping[str, str], here: set[str], *, attempt: int
) -> Iterator[Request]:
    """What is to be asked for, so that what is here is not sent again.

    Parameters
    ----------
    series : str
        The series that is wanted, "" for all of the study.
    announced : mapping of str to str
        SOP Instance UID to Series Instance UID.
    attempt : int
        From 1.
    """
    missing: dict[str, list[str]] = defaultdict(list)
    whole = True
    for uid, of_series in announced.items():
        if uid in here:
            whole = False
        else:
            missing[of_series].append(uid)
    if whole and not series:
        if missing:
            yield Request(Level.STUDY, study)
        return
    touched = {of_series for uid, of_series in announced.items() if uid in here}
    for of_series, uids in missing.items():
        if of_series not in touched or attempt >= _COARSE_FROM:
            yield Request(Level.SERIES, study, of_series)
            continue
        for start in range(0, len(uids), _UIDS_AT_ONCE):
            yield Request(Level.IMAGE, study, of_series, tuple(uids[start : start + _UIDS_AT_ONCE]))


def whole_request(study: str, series: str) -> Request:
    """All of it, where nobody knows what is in it."""
    return Request(Level.SERIES, study, series) if series else Request(Level.STUDY, study)


@dataclass(slots=True)
class Retrieved:
    """What the retrievals of one attempt came to, by the source's word.

    Attributes
    ----------
    failures : list of int
        Statuses of those that did not end with Success.
    failed : int
        Sub-operations that it counts as failed.
    completed : int
        Sub-operations that it counts as completed, warnings among them.
    refused : int
        Instances that we did not take (C-GET).
    silent : bool
        One was ended because nothing moved any more.
    uncounted : int
        Those that ended with Success and no counters, which need not be there (PS3.4 Section C.4.2.1.6).
    settled : bool
        What they brought is here.
    """

    failures: list[int] = field(default_factory=list)
    failed: int = 0
    completed: int = 0
    refused: int = 0
    silent: bool = False
    uncounted: int = 0
    settled: bool = False

    def add(self, conclusion: Conclusion) -> None:
        """One has ended."""
        counts = conclusion.counts
        self.failed += max(counts.failed or 0, len(conclusion.failed_uids))
        self.completed += (counts.completed or 0) + (counts.warning or 0)
        end = finality(conclusion.status)
        # B000 is "Failures or Warnings" (PS3.4 Table C.4-3): which of them, the counter says.
        only_warnings = end is Finality.WARNING and counts.failed == 0 and not conclusion.failed_uids
        if end is not Finality.SUCCESS and not only_warnings:
            self.failures.append(conclusion.status)
        elif counts.completed is None and counts.warning is None and counts.failed is None:
            self.uncounted += 1

    @property
    def is_well(self) -> bool:
        """Whether the source says that all of it went well, and that it was something."""
        is_something = self.completed > 0 or (self.uncounted > 0 and self.settled)
        return is_something and not (self.failures or self.failed or self.refused)


def fetched(announced: Announced, here: set[str] | int, retrieved: Retrieved | None) -> Fetched:
    """How a step stands.

    Parameters
    ----------
    here : set of str or int
        SOP Instance UIDs of those announced that are here; or how many are here, where none are listed.
    retrieved : Retrieved, optional
        None before anything was retrieved.
    """
    if announced.instances is not None and isinstance(here, set):
        missing = tuple(
            Missing(series, uid) for uid, series in sorted(announced.instances.items()) if uid not in here
        )
        count = len(announced.instances)
        proof = Proof.UIDS if count and not missing else None
        return Fetched(count, count - len(missing), missing, proof)
    count_here = len(here) if isinstance(here, set) else here
    if announced.count is not None:
        enough = announced.count > 0 and count_here >= announced.count
        return Fetched(
            announced.count, min(count_here, announced.count), (), Proof.COUNTS if enough else None
        )
    is_said = retrieved is not None and retrieved.is_well and (retrieved.completed > 0 or count_here > 0)
    return Fetched(None, count_here, (), Proof.WORD if is_said else None)


def choose_priors(
    rule: PriorsRule, studies: Sequence[Told], series_of: Mapping[str, Sequence[Told]]
) -> list[Told]:
    """The relevant ones of the studies that a source has of a patient, newest first.

    Parameters
    ----------
    studies : sequence of Told
        Answers at level STUDY.
    series_of : mapping of str to sequence of Told
        Answers at level SERIES by Study Instance UID, where they were asked for.
    """
    chosen = [
        study
        for study in studies
        if _is_of(rule, study)
        and _is_relevant(rule, study, series_of.get(text_of(study, "StudyInstanceUID"), ()))
    ]
    chosen.sort(key=lambda study: (text_of(study, "StudyDate"), text_of(study, "StudyTime")), reverse=True)
    return chosen[: rule.newest]


def needs_series(rule: PriorsRule, study: Told) -> bool:
    """Whether its series have to be asked for, to say if it is relevant."""
    if not _is_of(rule, study):
        return False
    wants_modality = bool(rule.modality) and not study.get("ModalitiesInStudy")
    wants_body_part = bool(rule.body_part) and not _has_word(
        text_of(study, "StudyDescription"), rule.body_part
    )
    return wants_modality or wants_body_part


def _is_of(rule: PriorsRule, study: Told) -> bool:
    """Of that very patient, whatever the source took for a match, and not the study itself."""
    issuer = text_of(study, "IssuerOfPatientID")
    return (
        text_of(study, "PatientID") == rule.patient_id
        and (not rule.issuer or not issuer or issuer == rule.issuer)
        and text_of(study, "StudyInstanceUID") not in ("", rule.study_instance_uid)
        and (not rule.since or not text_of(study, "StudyDate") or text_of(study, "StudyDate") >= rule.since)
    )


def _is_relevant(rule: PriorsRule, study: Told, series: Sequence[Told]) -> bool:
    modalities = {*study.get("ModalitiesInStudy", ()), *(text_of(each, "Modality") for each in series)}
    parts = {text_of(each, "BodyPartExamined").upper() for each in series}
    shares_modality = not rule.modality or rule.modality in modalities
    shares_body_part = (
        not rule.body_part
        or rule.body_part.upper() in parts
        or _has_word(text_of(study, "StudyDescription"), rule.body_part)
    )
    return shares_modality and shares_body_part


def _has_word(text: str, word: str) -> bool:
    return word.casefold() in re.split(r"\W+", text.casefold())


def text_of(answer: Told, keyword: str) -> str:
    """The value of an attribute, the first of several; "" for none."""
    return next(iter(answer.get(keyword, ())), "")
