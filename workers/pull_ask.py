"""Asks a source what it has: the list of a pull, and the instances of a study (C-FIND, PS3.4 Annex C)."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from dicomrelay.dicom.query_models import STUDY_ROOT, Level
from dicomrelay.dicom.query_status import Finality, finality, query_status_name
from dicomrelay.dicom.uids import is_tolerable_uid
from dicomrelay.dimse.query_keys import Key, build_identifier, parse_key
from dicomrelay.errors import RelayError
from dicomrelay.ledger.values_pulls import Listed, PriorsRule
from dicomrelay.net.query_retrieve import Conclusion, Find, Stop
from dicomrelay.net.requestor import Association
from workers.pull_plan import Announced, Told, choose_priors, needs_series, text_of

# Of one study; of more only the number is compared.
MAX_INSTANCES: Final = 100_000
_MAX_SERIES: Final = 10_000
# A source counts with an Integer String, whose largest value this is (PS3.5 Table 6.2-1).
_MOST: Final = 2**31 - 1
_NUMBER: Final = re.compile(r"\+?[0-9]{1,12}", re.ASCII)
# Of an answer no more is kept: no attribute that is asked for is longer (PS3.5 Table 6.2-1), nor has a study more modalities.
_LONGEST: Final = 256
_MOST_VALUES: Final = 64
# Candidates whose series are looked at for a modality or a body part, the newest.
_MAX_LOOKED_AT: Final = 100
_STUDY_KEYS: Final = ("StudyInstanceUID", "NumberOfStudyRelatedInstances")
_SERIES_KEYS: Final = ("StudyInstanceUID", "SeriesInstanceUID", "NumberOfSeriesRelatedInstances")
_WILDCARDS: Final = frozenset("*?")
# By exact value: a source that knows no ModalitiesInStudy would send every study of the day.
_COMPARED: Final = frozenset({"PatientID", "StudyInstanceUID", "SeriesInstanceUID", "ModalitiesInStudy"})
_PRIORS_KEYS: Final = (
    "PatientID",
    "IssuerOfPatientID",
    "StudyDate",
    "StudyTime",
    "ModalitiesInStudy",
    "StudyDescription",
)


class NotAnswered(RelayError):
    """The source ended a C-FIND with another status than Success; `str` is in words of ours."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The list of a pull; not `whole` when there is more, or some of it could not be read."""

    listed: tuple[Listed, ...]
    whole: bool


@dataclass(slots=True)
class _Asked:
    answers: list[Told]
    conclusion: Conclusion | None
    unreadable: int

    @property
    def is_whole(self) -> bool:
        return (
            self.conclusion is not None
            and self.conclusion.stopped is None
            and not self.unreadable
            and finality(self.conclusion.status) in (Finality.SUCCESS, Finality.WARNING)
        )

    def require_an_end(self) -> None:
        """Raises NotAnswered when the source did not go through with it; our limit is an end too."""
        conclusion = self.conclusion
        if conclusion is None or conclusion.stopped is Stop.ASKED:
            raise NotAnswered("the question was stopped")
        if conclusion.stopped is None and finality(conclusion.status) not in (
            Finality.SUCCESS,
            Finality.WARNING,
        ):
            raise NotAnswered(f"the source answers: {query_status_name(conclusion.status)}")


class Asking:
    """Questions over one association.

    Parameters
    ----------
    moved : callable
        Called with each answer.
    stop : callable
        Whether to stop.
    """

    def __init__(
        self, association: Association, *, moved: Callable[[], None], stop: Callable[[], bool]
    ) -> None:
        self._association = association
        self._moved = moved
        self._stop = stop

    def listed(self, question: Sequence[str], *, level: str, limit: int, priors: PriorsRule | None) -> Answer:
        """What the answer to a question names.

        Raises
        ------
        NotAnswered
            The source refuses or fails.
        NoAcceptedContext
            It answers no C-FIND of Study Root.
        AssociationError
            The association died.
        """
        at = Level(level)
        wanted = [*(_STUDY_KEYS if at is Level.STUDY else _SERIES_KEYS), *(_PRIORS_KEYS if priors else ())]
        given = [parse_key(text) for text in question]
        questions = _one_study_each(given)
        answers: list[Told] = []
        whole = True
        for keys in questions:
            # One more than is wanted: a source that is through before our C-CANCEL comes ends with Success.
            asked = self._find(at, [*map(parse_key, wanted), *keys], limit - len(answers) + 1)
            asked.require_an_end()
            answers += asked.answers
            whole = whole and asked.is_whole
            if len(answers) > limit:
                answers, whole = answers[:limit], False
                break
        answers = [answer for answer in answers if _fits(answer, given)]
        if priors is not None:
            answers = self._relevant(priors, answers)
        return Answer(_listed(at, answers, question), whole)

    def _relevant(self, rule: PriorsRule, studies: list[Told]) -> list[Told]:
        newest = sorted(studies, key=lambda study: text_of(study, "StudyDate"), reverse=True)
        unclear = [study for study in newest if needs_series(rule, study)][:_MAX_LOOKED_AT]
        series = {}
        for study in unclear:
            uid = text_of(study, "StudyInstanceUID")
            keys = [
                parse_key(text)
                for text in (f"StudyInstanceUID={uid}", "SeriesInstanceUID", "Modality", "BodyPartExamined")
            ]
            series[uid] = self._find(Level.SERIES, keys, _MAX_SERIES).answers
        return choose_priors(rule, newest, series)

    def instances(self, study: str, series: str, counted: int | None) -> Announced:
        """The instances that the source has of a study, or of one series.

        Parameters
        ----------
        counted : int, optional
            How many it had when the list was made.
        """
        numbers, complete = self._series(study) if not series else ({series: None}, True)
        known = [number for number in numbers.values() if number is not None]
        count = sum(known) if numbers and complete and len(known) == len(numbers) else counted
        if not complete:
            return Announced(None, count=count)
        instances: dict[str, str] = {}
        classes: set[str] = set()
        for uid, number in numbers.items():
            found = self._images(study, uid)
            # None, of a series that has some, is a source that does not list them.
            if found is None or (number and not found) or len(instances) + len(found) > MAX_INSTANCES:
                return Announced(None, count=count)
            instances |= dict.fromkeys(found, uid)
            classes |= set(found.values())
        return Announced(instances, frozenset(classes - {""}), len(instances))

    def _series(self, study: str) -> tuple[dict[str, int | None], bool]:
        """Series Instance UIDs with the number of their instances, and whether that is all of them."""
        keys = [
            parse_key(text)
            for text in (
                f"StudyInstanceUID={study}",
                "SeriesInstanceUID",
                "NumberOfSeriesRelatedInstances",
            )
        ]
        asked = self._find(Level.SERIES, keys, _MAX_SERIES + 1)
        found = {
            uid: _number(answer, "NumberOfSeriesRelatedInstances")
            for answer in asked.answers
            if is_tolerable_uid(uid := text_of(answer, "SeriesInstanceUID"))
            and (text_of(answer, "StudyInstanceUID") or study) == study
        }
        return found, asked.is_whole and len(asked.answers) <= _MAX_SERIES

    def _images(self, study: str, series: str) -> dict[str, str] | None:
        """SOP Instance UIDs of a series with their SOP classes; None when the source does not say all of them."""
        keys = [
            parse_key(text)
            for text in (
                f"StudyInstanceUID={study}",
                f"SeriesInstanceUID={series}",
                "SOPInstanceUID",
                "SOPClassUID",
            )
        ]
        asked = self._find(Level.IMAGE, keys, MAX_INSTANCES + 1)
        if not asked.is_whole or len(asked.answers) > MAX_INSTANCES:
            return None
        return {
            uid: sop_class if is_tolerable_uid(sop_class := text_of(answer, "SOPClassUID")) else ""
            for answer in asked.answers
            if is_tolerable_uid(uid := text_of(answer, "SOPInstanceUID"))
            and (text_of(answer, "SeriesInstanceUID") or series) == series
        }

    def _find(self, level: Level, keys: Iterable[Key], limit: int) -> _Asked:
        # Each attribute once: what was given wins over what is asked for by default.
        unique = {key.path: key for key in [parse_key(f"QueryRetrieveLevel={level}"), *keys]}
        find = Find(
            self._association,
            STUDY_ROOT,
            build_identifier(unique.values()),
            limit=limit,
            stop=self._stop,
        )
        keep = [key.name for key in unique.values()]
        answers = []
        for answer in find:
            self._moved()
            answers.append(_told(answer, keep))
        return _Asked(answers, find.conclusion, find.unreadable)


def _one_study_each(given: Sequence[Key]) -> list[list[Key]]:
    """The keys of each C-FIND: not every source matches a list of UIDs."""
    for place, key in enumerate(given):
        if key.name == "StudyInstanceUID" and "\\" in key.value:
            rest = [*given[:place], *given[place + 1 :]]
            return [[*rest, parse_key(f"StudyInstanceUID={uid}")] for uid in key.value.split("\\")]
    return [list(given)]


def _told(answer: Dataset, keep: Sequence[str]) -> Told:
    """Of an answer what was asked for, as text: an identifier may have a megabyte, and there are many."""
    told: dict[str, tuple[str, ...]] = {}
    for keyword in keep:
        try:
            value = answer.get(keyword)
        except (TypeError, ValueError, ArithmeticError):  # it cannot be read as what it should be
            continue
        several = list(value) if isinstance(value, MultiValue) else [value]
        texts = [sys.intern(str(each).strip()) for each in several[:_MOST_VALUES] if each is not None]
        if any(texts) and all(len(text) <= _LONGEST for text in texts):
            told[keyword] = tuple(texts)
    return told


def _fits(answer: Told, given: Sequence[Key]) -> bool:
    """Whether an answer is what was asked for, where the source says so: some take keys that they do not know for none."""
    for key in given:
        if not key.value or _WILDCARDS.intersection(key.value) or key.name not in _COMPARED:
            continue
        told = answer.get(key.name)
        if told and not set(told).intersection(part.strip() for part in key.value.split("\\")):
            return False
    return True


def _listed(level: Level, answers: Sequence[Told], question: Sequence[str]) -> tuple[Listed, ...]:
    """Each study or series once, in the order of the answers; then what was named and is in none of them."""
    found: dict[tuple[str, str], Listed] = {}
    at_series = level is Level.SERIES
    counter = "NumberOfSeriesRelatedInstances" if at_series else "NumberOfStudyRelatedInstances"
    named = studies_named(question)
    for answer in answers:
        study = text_of(answer, "StudyInstanceUID") or (named[0] if len(named) == 1 else "")
        series = text_of(answer, "SeriesInstanceUID") if at_series else ""
        if is_tolerable_uid(study) and (not at_series or is_tolerable_uid(series)):
            found.setdefault((study, series), Listed(study, series, _number(answer, counter)))
    if sum(bool(parse_key(text).value) for text in question) == 1 + at_series:
        for listed in listed_unasked(question, level):
            found.setdefault((listed.study_instance_uid, listed.series_instance_uid), listed)
    return tuple(found.values())


def _number(answer: Told, keyword: str) -> int | None:
    text = text_of(answer, keyword)
    number = int(text) if _NUMBER.fullmatch(text) else None
    return number if number is None or number <= _MOST else None


def studies_named(question: Sequence[str]) -> tuple[str, ...]:
    """The Study Instance UIDs that a question names."""
    return _named(question, "StudyInstanceUID")


def _named(question: Sequence[str], keyword: str) -> tuple[str, ...]:
    for key in map(parse_key, question):
        if key.name == keyword:
            return tuple(uid for uid in key.value.split("\\") if is_tolerable_uid(uid))
    return ()


def listed_unasked(question: Sequence[str], level: str) -> tuple[Listed, ...]:
    """What a question names by itself, for a source that answers none."""
    studies = studies_named(question)
    if level == Level.STUDY:
        return tuple(Listed(uid) for uid in studies)
    return (
        tuple(Listed(studies[0], uid) for uid in _named(question, "SeriesInstanceUID"))
        if len(studies) == 1
        else ()
    )
