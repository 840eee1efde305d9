"""What a question about the worklist asks: its identifier as tests of an item, and what an answer has. Pure.

PS3.4 Sections C.2.2 and K.4.1. What is said about a wrong key names the attribute and never its value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from dicomrelay.dicom.elements import tag_name
from dicomrelay.dicom.query_values import Invalid, normalised, text_of
from dicomrelay.dimse.identifier_bounds import foreign_vr, not_its_vr
from dicomrelay.errors import ConfigurationError
from dicomrelay.scheduling.worklist_attributes import STEPS, json_tag, tag_of
from dicomrelay.scheduling.worklist_item import JsonItem
from dicomrelay.scheduling.worklist_matching import ItemTest, Test, ends, moment_test, test_of

# Said of the request, not asked for: character set, level and view of another model, time zone.
_ABOUT: Final = frozenset({0x00080005, 0x00080052, 0x00080053, 0x00080201})
# How its times are to be read, and what its documents are in HL7: said with an answer that has them, asked for or not
# (PS3.4 Section K.4.1.1.3.2).
_TIMEZONE, _DOCUMENTS, _HL7_DOCUMENTS = map(
    json_tag,
    ("TimezoneOffsetFromUTC", "PertinentDocumentsSequence", "HL7StructuredDocumentReferenceSequence"),
)
_DATE, _TIME = "ScheduledProcedureStepStartDate", "ScheduledProcedureStepStartTime"


class WrongKey(ConfigurationError):
    """A key that cannot be; the words name its attribute."""

    def __init__(self, words: str, tag: int) -> None:
        super().__init__(words)
        self.tag = tag


@dataclass(frozen=True, slots=True)
class Key:
    """One key.

    Attributes
    ----------
    tag : str
        As DICOM JSON has it.
    test : callable, optional
        What its values must pass; None: it is asked for, and not matched.
    items : Keys, optional
        Of a sequence, what one of its items must be; None: the whole sequence is wanted.
    """

    tag: str
    vr: str
    test: Test | None = None
    items: Keys | None = None

    def answer(self, item: JsonItem) -> Mapping[str, Any] | None:
        """What an answer has of it; None when it does not match."""
        found = item.get(self.tag, {})
        values = found.get("Value") or []
        if self.items is not None:
            answers = [answer for each in values if (answer := self.items.answer(each)) is not None]
            if answers:
                return {"vr": "SQ", "Value": answers}
            return None if self.items.is_matching else {"vr": "SQ"}
        if self.test is not None and not self.test([each for each in values if each not in (None, "")]):
            return None
        return found or {"vr": self.vr}


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of an identifier, or of an item in it."""

    keys: tuple[Key, ...]
    tests: tuple[ItemTest, ...] = ()

    @property
    def is_matching(self) -> bool:
        """Whether anything must be so; else everything matches."""
        return bool(self.tests) or any(
            key.test is not None or (key.items is not None and key.items.is_matching) for key in self.keys
        )

    def answer(self, item: JsonItem) -> dict[str, Any] | None:
        """The answer that an item is, in DICOM JSON; None when it does not match."""
        if not all(fits(item) for fits in self.tests):
            return None
        found: dict[str, Any] = {}
        for key in self.keys:
            answer = key.answer(item)
            if answer is None:
                return None
            found[key.tag] = answer
        return found


@dataclass(slots=True)
class Conditions:
    """What the database can say of a question: every item that matches is among those that fulfil them; "" for any."""

    patient_id: str = ""
    accession_number: str = ""
    study_instance_uids: tuple[str, ...] = ()
    modality: str = ""
    station: str = ""
    first_date: str = ""
    last_date: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """A question; `answer` is an item's.

    Attributes
    ----------
    names_status : bool
        It matches Scheduled Procedure Step Status: nothing is hidden for its status then.
    leaves_out_keys : bool
        Some keys are neither matched nor answered.
    """

    keys: Keys
    conditions: Conditions = field(default_factory=Conditions)
    names_status: bool = False
    leaves_out_keys: bool = False

    def answer(self, item: JsonItem) -> dict[str, Any] | None:
        """The answer that an item is, in DICOM JSON; None when it does not match."""
        found = self.keys.answer(item)
        if found is None:
            return None
        for tag, is_wanted in (
            (_TIMEZONE, True),
            (_HL7_DOCUMENTS, bool(found.get(_DOCUMENTS, {}).get("Value"))),
        ):
            if is_wanted and item.get(tag, {}).get("Value"):
                found[tag] = item[tag]
        return found


EVERYTHING: Final = Question(Keys(()))


def read_question(identifier: Dataset) -> Question:
    """What an identifier asks.

    Raises
    ------
    WrongKey
        An element with another VR than its attribute's, a value that its attribute cannot have, several items of keys.
    """
    if (tag := foreign_vr(identifier)) is not None:
        raise WrongKey(not_its_vr(tag), tag)
    reader = _Reader()
    keys = reader.keys(identifier)
    step = identifier[STEPS].value[0] if identifier.get(STEPS) else Dataset()
    return Question(
        keys,
        _conditions(identifier, step),
        names_status=bool(_exact_or_pattern(step, "ScheduledProcedureStepStatus")),
        leaves_out_keys=reader.leaves_out_keys,
    )


class _Reader:
    def __init__(self) -> None:
        self.leaves_out_keys = False

    def keys(self, identifier: Dataset) -> Keys:
        """The keys of a data set or an item."""
        found: list[Key] = []
        moment = _moment(identifier)
        apart = {tag_of(_DATE), tag_of(_TIME)} if moment else set()
        for element in identifier:
            tag = int(element.tag)
            if tag in _ABOUT or tag & 0xFFFF == 0:
                continue
            if element.tag.is_private or not keyword_for_tag(element.tag):
                self.leaves_out_keys = True
                continue
            if tag in apart:
                found.append(Key(f"{tag:08X}", str(element.VR)))
            else:
                found.append(self._key(element))
        return Keys(tuple(found), (moment,) if moment else ())

    def _key(self, element: DataElement) -> Key:
        tag, vr = f"{int(element.tag):08X}", str(element.VR)
        if vr == "SQ":
            items: Sequence[Dataset] = element.value or []
            if len(items) > 1:
                raise _wrong(element, "more than one item of keys")
            if tag == _DOCUMENTS:  # universal matching alone (Table K.6-1)
                return Key(tag, vr)
            return Key(tag, vr, items=self.keys(items[0]) if items and len(items[0]) else None)
        try:
            text = text_of(element)
            return Key(tag, vr, test_of(vr, text) if text.strip("*") else None)
        except Invalid as invalid:
            raise _wrong(element, str(invalid)) from None


def _moment(identifier: Dataset) -> ItemTest | None:
    """Start date and time, where both are ranges."""
    dates, times = (text_of(identifier[name]) if name in identifier else "" for name in (_DATE, _TIME))
    if "-" not in dates or "-" not in times:
        return None
    for name, vr, text in ((_DATE, "DA", dates), (_TIME, "TM", times)):
        try:
            normalised(vr, text)
        except Invalid as invalid:
            raise _wrong(identifier[name], str(invalid)) from None
    return moment_test(json_tag(_DATE), json_tag(_TIME), dates, times)


def _wrong(element: DataElement, words: str) -> WrongKey:
    tag = int(element.tag)
    return WrongKey(f"{keyword_for_tag(tag)} {tag_name(tag)}: {words}", tag)


def _conditions(identifier: Dataset, step: Dataset) -> Conditions:
    dates = _text(step, _DATE)
    first, last = ends(normalised("DA", dates)) if dates.strip("*") else ("", "")
    uids = _text(identifier, "StudyInstanceUID")
    return Conditions(
        patient_id=_exact(identifier, "PatientID"),
        accession_number=_exact(identifier, "AccessionNumber"),
        study_instance_uids=tuple(normalised("UI", uids).split("\\")) if uids.strip("*") else (),
        modality=_exact(step, "Modality"),
        station=_exact(step, "ScheduledStationAETitle"),
        first_date=first,
        last_date=last,
    )


def _text(holder: Dataset, keyword: str) -> str:
    return text_of(holder[keyword]) if keyword in holder else ""


def _exact_or_pattern(holder: Dataset, keyword: str) -> str:
    return _text(holder, keyword).strip("*")


def _exact(holder: Dataset, keyword: str) -> str:
    """The one value that it must be, "" where it may be several."""
    text = _text(holder, keyword).strip()
    return "" if any(each in text for each in "*?\\") else text
