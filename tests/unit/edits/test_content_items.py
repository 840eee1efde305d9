"""Structured content by PS3.15 Table E.3.4-1: which items go, which stay, and what still refers to what."""

from __future__ import annotations

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from dicomrelay.edits.content_items import content_items
from tests.support.data_sets import BIG_ENDIAN, EXPLICIT, IMPLICIT
from tests.support.edits import KEY, basic, decoded, edited, encoded, person

COMPREHENSIVE_SR = "1.2.840.10008.5.1.4.1.1.88.33"
STRUCTURED = "clean_structured_content"
VALUES = {
    "TEXT": "TextValue",
    "PNAME": "PersonName",
    "DATE": "Date",
    "DATETIME": "DateTime",
    "TIME": "Time",
    "UIDREF": "UID",
}


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """A coded entry."""
    made = Dataset()
    made.CodeValue, made.CodingSchemeDesignator, made.CodeMeaning = value, scheme, meaning
    return made


def item(value_type: str, name: tuple[str, str], value: object = None, *content: Dataset) -> Dataset:
    """A content item."""
    made = Dataset()
    made.RelationshipType, made.ValueType = "CONTAINS", value_type
    made.ConceptNameCodeSequence = Sequence([code(*name, "name")])
    if value_type in VALUES:
        setattr(made, VALUES[value_type], value)
    if value_type == "NUM":
        measured = Dataset()
        measured.NumericValue, measured.MeasurementUnitsCodeSequence = (
            value,
            Sequence([code("a", "UCUM", "a")]),
        )
        made.MeasuredValueSequence = Sequence([measured])
    if value_type == "CODE":
        made.ConceptCodeSequence = Sequence([code(str(value), "DCM", "meaning")])
    if content:
        made.ContentSequence = Sequence(content)
    return made


def reference(*path: int) -> Dataset:
    """An item that stands for another (PS3.3 Section C.17.3.2.5)."""
    made = Dataset()
    made.RelationshipType, made.ReferencedContentItemIdentifier = "INFERRED FROM", list(path)
    return made


def report(*content: Dataset) -> Dataset:
    """A report with such content."""
    made = person(COMPREHENSIVE_SR)
    made.Modality, made.ValueType, made.InstitutionName = "SR", "CONTAINER", "Hospital"
    made.ConceptNameCodeSequence = Sequence([code("121071", "DCM", "Finding")])
    made.ContentSequence = Sequence(content)
    return made


def cleaned(before: Dataset, *options: str, syntax: str = EXPLICIT, words: str = "") -> Dataset:
    """What becomes of it."""
    profile = basic(*options, words=frozenset(words.split()))
    return decoded(edited(encoded(before, syntax), syntax, profile)[0], syntax)


def left(*content: Dataset, options: str = "", words: str = "") -> list[object]:
    """The values of items of which each is what E.3.4-1 says."""
    after = cleaned(report(*content), *options.split(), words=words).get("ContentSequence", [])
    return [
        each.MeasuredValueSequence[0].NumericValue
        if each.ValueType == "NUM"
        else each.ConceptCodeSequence[0].CodeValue
        if each.ValueType == "CODE"
        else each.get(VALUES.get(each.ValueType, "ValueType"))
        for each in after
    ]


BIRTH_DATE, AGE, SEX = ("121031", "DCM"), ("121033", "DCM"), ("121032", "DCM")


@pytest.mark.parametrize("options", ["", "full_dates", "modified_dates", f"{STRUCTURED} full_dates"])
def test_a_birth_date_goes_whatever_the_options(options: str) -> None:
    """X in Table E.3.4-1, without K and C."""
    dates = item("DATE", BIRTH_DATE, "19600101"), item("DATETIME", BIRTH_DATE, "19600101101010")
    assert left(*dates, options=options) == []


def test_age_and_sex_go_unless_characteristics_are_retained() -> None:
    """And of the content itself only what the option for content says."""
    both = item("NUM", AGE, "57"), item("CODE", SEX, "M"), item("NUM", ("27113001", "SCT"), "82.5")
    assert left(*both) == [82.5]
    assert left(*both, options=STRUCTURED) == [82.5]
    assert left(*both, options="retain_patient_characteristics") == [82.5]
    assert left(*both, options=f"{STRUCTURED} retain_patient_characteristics") == [57, "M", 82.5]


def test_devices_institutions_and_uids_stay_where_an_option_says_so() -> None:
    """K of the table; UIDs that do not stay are mapped, or their items go."""
    items = (
        item("TEXT", ("121013", "DCM"), "GANTRY5"),  # Device Observer Name
        item("UIDREF", ("121012", "DCM"), "1.2.3.77"),  # Device Observer UID, X/D
        item("TEXT", ("121009", "DCM"), "Ward 5"),  # Person Observer's Organization Name
        item("UIDREF", ("121028", "DCM"), "1.2.3.78"),  # Subject UID, X
        item("PNAME", ("121008", "DCM"), "Referrer^Rudi"),  # Person Observer Name, D
    )
    assert left(*items) == [KEY.uid("1.2.3.77"), "REMOVED"]
    device = left(*items, options=f"{STRUCTURED} retain_device_identity")
    assert device == ["GANTRY5", "1.2.3.77", "REMOVED"]
    assert left(*items, options=f"{STRUCTURED} retain_institution_identity")[1] == "Ward 5"
    assert left(*items, options=f"{STRUCTURED} retain_uids") == ["1.2.3.77", "1.2.3.78", "REMOVED"]


def test_dates_of_content_stay_or_move() -> None:
    """K and C of the table; a date that is none is D."""
    items = (
        item("DATE", ("111060", "DCM"), "20240310"),  # Study Date, X/D
        item("TIME", ("111061", "DCM"), "101112"),
        item("DATETIME", ("113809", "DCM"), "20240310101112"),  # Start of X-Ray Irradiation, D
        item("DATE", ("x", "99SITE"), "20240310"),
    )
    assert left(*items) == ["19000101", "000000", "19000101000000", "19000101"]
    assert left(*items, options="full_dates") == ["20240310", "101112", "20240310101112", "20240310"]
    day = cleaned(report(), "modified_dates").StudyDate
    assert left(*items, options="modified_dates") == [day, "101112", f"{day}101112", day]


def test_texts_keep_their_words_or_go() -> None:
    """C with words; without, a text of which nothing is left says so."""
    items = item("TEXT", ("121106", "DCM"), "seen in thorax"), item("TEXT", ("121071", "DCM"), "by Rudi")
    assert left(*items) == ["REMOVED"]
    assert left(*items, options=f"{STRUCTURED} clean_descriptors", words="thorax in") == [
        "in thorax",
        "REMOVED",
    ]
    assert left(*items, options="clean_descriptors", words="thorax") == ["REMOVED"]


def test_a_code_is_known_by_its_older_names() -> None:
    """PS3.15 Section E.3.4: SRT, SNM3 and 99SDM for SCT; a scheme with its version; a long code. A coded finding stays."""
    for scheme, value in (
        ("SCT", "371524004"),
        ("SRT", "R-42B89"),
        ("SNM3", "R-42B89"),
        ("99SDM", "R-42B89"),
    ):
        assert left(item("TEXT", (value, scheme), "text")) == []
    for scheme in ("NCDR", "NCDR [2.0b]"):
        assert left(item("TEXT", ("53", scheme), "text")) == []
    long = item("NUM", ("x", "DCM"), "57")
    name = long.ConceptNameCodeSequence[0]
    name.LongCodeValue = "121033"
    del name.CodeValue
    assert left(long) == []
    assert left(item("CODE", ("121071", "DCM"), "M")) == ["M"]
    untyped = item("NUM", AGE, "57")
    del untyped.ValueType
    assert "ContentSequence" not in cleaned(report(untyped))


def test_the_table_asks_for_nothing_that_is_not_done() -> None:
    """Of numbers, codes and containers it says X or K; of all else X, D, K or C."""
    rows = [(kind, row) for found in content_items().rows.values() for kind, row in found.items()]
    assert {part for _, row in rows for part in row.basic} == {"X", "D"}
    for kind, row in rows:
        assert set(row.options.values()) <= {"K", "C"}
        if kind in ("NUM", "CODE", "CONTAINER"):
            assert row.basic == ("X",)
            assert set(row.options.values()) <= {"K"}
        if "C" in row.options.values():
            assert kind in VALUES


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN])
def test_references_follow_what_they_refer_to(syntax: str) -> None:
    """They count items; one to what is gone, or to nothing, goes, and whatever refers to it."""
    finding = ("121071", "DCM")
    before = report(
        item("NUM", AGE, "57", item("CODE", finding, "inside")),  # 1.1 goes
        item(
            "CODE", finding, "a", item("NUM", AGE, "57"), item("CODE", finding, "b", reference(1, 4))
        ),  # 1.2
        item("CODE", finding, "c", reference(1, 2, 2), reference(1, 1, 1), reference(1, 9)),  # 1.3
        item("CODE", finding, "d", reference(1, 3, 2), reference(1)),  # 1.4
    )
    a, c, d = cleaned(before, syntax=syntax).ContentSequence
    (b,) = a.ContentSequence
    assert [list(each.ReferencedContentItemIdentifier) for each in b.ContentSequence] == [[1, 3]]
    assert [list(each.ReferencedContentItemIdentifier) for each in c.ContentSequence] == [[1, 1, 1]]
    assert [each.ReferencedContentItemIdentifier for each in d.ContentSequence] == [1]
    whole = report(item("CODE", finding, "a", reference(1, 9)))
    kept = cleaned(whole, syntax=syntax).ContentSequence[0].ContentSequence
    assert [list(each.ReferencedContentItemIdentifier) for each in kept] == [[1, 9]]


def test_content_outside_of_reports_is_held_to_the_same_table() -> None:
    """Acquisition Context Sequence (0040,0555) with the option; Specimen Preparation Sequence (0040,0610)."""
    before = person()
    before.AcquisitionContextSequence = Sequence([item("NUM", AGE, "57"), item("NUM", ("x", "DCM"), "5")])
    step = Dataset()
    step.SpecimenPreparationStepContentItemSequence = Sequence(
        [item("TEXT", ("111706", "DCM"), "Ward 5"), item("TEXT", ("121106", "DCM"), "seen")]
    )
    before.SpecimenPreparationSequence = Sequence([step])
    after = cleaned(before, STRUCTURED)
    assert [each.MeasuredValueSequence[0].NumericValue for each in after.AcquisitionContextSequence] == [5]
    assert not after.SpecimenPreparationSequence[0].SpecimenPreparationStepContentItemSequence
    assert cleaned(after, STRUCTURED) == after
