"""The identifier of a retrieve to what is asked of the archive, or why not (PS3.4 Sections C.4.2.2.1 and C.4.3.2.1). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydicom.dataset import Dataset

from dicomrelay.dicom.query_models import RETRIEVE_MODELS, UNIQUE_KEYS, Level, QueryModel
from dicomrelay.dicom.uids import is_tolerable_uid
from dicomrelay.dimse.identifier import decode_identifier
from dicomrelay.dimse.identifier_bounds import MAX_ELEMENTS, TooManyElements, foreign_vr, not_its_vr
from dicomrelay.errors import MalformedDataSet, RelayError

CANNOT_PROCESS: Final = 0xC000
DOES_NOT_MATCH: Final = 0xA900
MAX_UIDS: Final = 10_000
_LEVEL_TAG: Final = 0x0008_0052
_TAGS: Final = {
    Level.PATIENT: 0x0010_0020,
    Level.STUDY: 0x0020_000D,
    Level.SERIES: 0x0020_000E,
    Level.IMAGE: 0x0008_0018,
}


class RetrieveRefused(RelayError):
    """A retrieve that is not begun. The words quote no value: the peer gets them, and the log.

    Attributes
    ----------
    status : int
        What it is answered.
    offending : tuple of int
        Tags of Offending Element.
    """

    def __init__(self, status: int, why: str, *offending: int) -> None:
        super().__init__(why)
        self.status = status
        self.offending = offending


@dataclass(frozen=True, slots=True)
class Keys:
    """The unique keys of a retrieve: of all that is given."""

    level: Level
    patient_id: str = ""
    study_uids: tuple[str, ...] = ()
    series_uids: tuple[str, ...] = ()
    sop_instance_uids: tuple[str, ...] = ()


def refuse_patterns(keys: Keys) -> None:
    """Nothing was found. An id may have these characters in it; who meant a pattern is told so.

    Raises
    ------
    RetrieveRefused
        There are some in Patient ID.
    """
    if "*" in keys.patient_id or "?" in keys.patient_id:
        words = "PatientID: nobody has it, and wildcards are not matched here"
        raise RetrieveRefused(DOES_NOT_MATCH, words, _TAGS[Level.PATIENT])


def model_of(sop_class_uid: str) -> QueryModel | None:
    """The information model that a C-MOVE or C-GET SOP class is of."""
    return next(
        (model for model in RETRIEVE_MODELS.values() if sop_class_uid in (model.move, model.get)), None
    )


def read_keys(
    model: QueryModel, identifier: bytes, transfer_syntax_uid: str, *, relational: bool = False
) -> Keys:
    """What is to be retrieved.

    Parameters
    ----------
    relational : bool
        Whether the unique keys of the levels above may be left out.

    Raises
    ------
    RetrieveRefused
        It cannot be told from that identifier.
    """
    if not identifier:
        raise RetrieveRefused(CANNOT_PROCESS, "the request has no identifier")
    try:
        found = decode_identifier(identifier, transfer_syntax_uid, max_elements=MAX_ELEMENTS)
    except TooManyElements as error:
        raise RetrieveRefused(CANNOT_PROCESS, str(error)) from None
    except MalformedDataSet:
        raise RetrieveRefused(CANNOT_PROCESS, "the identifier cannot be read") from None
    tag = foreign_vr(found)
    if tag is not None:
        raise RetrieveRefused(DOES_NOT_MATCH, not_its_vr(tag), tag)
    level = _level(model, found)
    given = {
        each: _values(found, each, is_own=each is level, may_miss=relational and each is not level)
        for each in model.levels_down_to(level)
    }
    patient = given.get(Level.PATIENT, ())
    return Keys(
        level,
        patient_id=patient[0] if patient else "",
        study_uids=given.get(Level.STUDY, ()),
        series_uids=given.get(Level.SERIES, ()),
        sop_instance_uids=given.get(Level.IMAGE, ()),
    )


def _level(model: QueryModel, identifier: Dataset) -> Level:
    value = identifier.get("QueryRetrieveLevel")
    if not value:
        raise RetrieveRefused(DOES_NOT_MATCH, "QueryRetrieveLevel is missing", _LEVEL_TAG)
    try:
        level = Level(str(value).strip().upper())
    except ValueError:
        raise RetrieveRefused(DOES_NOT_MATCH, "QueryRetrieveLevel is none there is", _LEVEL_TAG) from None
    if level not in model.levels:
        words = f"QueryRetrieveLevel {level.value} is not of this model"
        raise RetrieveRefused(DOES_NOT_MATCH, words, _LEVEL_TAG)
    return level


def _values(identifier: Dataset, level: Level, *, is_own: bool, may_miss: bool) -> tuple[str, ...]:
    keyword = UNIQUE_KEYS[level]
    raw = identifier.get(keyword)
    many = [raw] if raw is None or isinstance(raw, str) else list(raw)
    values = tuple(dict.fromkeys(text for each in many if each is not None and (text := str(each).strip())))
    wrong = ""
    if not values:
        wrong = "" if may_miss else f"{keyword} is missing"
    elif level is Level.PATIENT and (len(values) > 1 or not values[0].strip("*?")):
        wrong = f"{keyword}: one patient, by an id without wildcards"
    elif level is not Level.PATIENT and not all(map(is_tolerable_uid, values)):
        wrong = f"{keyword}: what is given is no UID"
    elif not is_own and len(values) > 1:
        wrong = f"{keyword}: one value above the level, and not a list"
    elif len(values) > MAX_UIDS:
        wrong = f"{keyword}: {MAX_UIDS} UIDs at once at most"
    if wrong:
        raise RetrieveRefused(DOES_NOT_MATCH, wrong, _TAGS[level])
    return values
