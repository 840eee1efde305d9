"""Options of `dicomrelay archive` to what the index is asked: dates, UIDs, patterns, order."""

from __future__ import annotations

from typing import Any

import pytest

from archive.attributes import Level
from dicomrelay.cli.archiving.dates import date_range, shown_date
from dicomrelay.cli.archiving.filters import asked
from dicomrelay.cli.archiving.ordering import ordering
from dicomrelay.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "asked_for"),
    [
        ("20240131", "20240131"),
        ("20240101-20240131", "20240101-20240131"),
        ("20240101-", "20240101-"),
        ("-20240131", "-20240131"),
        ("2024-01-31", "20240131"),
        ("2024-01-01..2024-01-31", "20240101-20240131"),
        ("2024-01-01-2024-01-31", "20240101-20240131"),
        (" 20240101 - 20240131 ", "20240101-20240131"),
        ("20240229", "20240229"),
    ],
)
def test_a_date_may_be_a_day_or_a_range(text: str, asked_for: str) -> None:
    """In the form of the standard, or with dashes as people write them (PS3.4 Section C.2.2.2.5)."""
    assert date_range("--study-date", text) == asked_for


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("20230229", "there is no day 20230229"),
        ("20241301", "there is no day 20241301"),
        ("2024", "'2024' is no date"),
        ("31.01.2024", "'31.01.2024' is no date"),
        ("20240101-2024", "'2024' is no date"),
        ("202401*", "takes no wildcards"),
        ("-", "the range has no end at all"),
        ("20240131-20240101", "ends before it begins"),
        ("20240101-20240102-20240103", "is no date"),
        ("yesterday", "is no date"),
        ("", "is no date"),
        ("٢٠٢٤٠١٠١", "is no date"),
    ],
)
def test_a_date_that_is_none_is_refused_by_name(text: str, why: str) -> None:
    """The message names the option, what is wrong, and how it is written."""
    with pytest.raises(ConfigurationError, match=r"--study-date .*") as refused:
        date_range("--study-date", text)
    assert why in str(refused.value)


def test_a_date_reads_as_people_write_it() -> None:
    """What is no date is shown as it is."""
    assert [shown_date(text) for text in ("20240131", "2024", "")] == ["2024-01-31", "2024", ""]


def test_filters_become_matches_by_keyword() -> None:
    """Codes in capitals, UIDs as a list, keys by tag too."""
    found = asked(
        {
            "patient_name": "doe*", "modality": "ct", "study_date": "2024-01-01", "accession_number": "A1",
            "description": "*brain*", "series_uid": ("1.2", "1.3"), "keys": ("StationName=CT1", "0020,0010=7"),
            "sop_class": "CTImageStorage",
        }
    )  # fmt: skip

    assert found.matches == {
        "PatientName": "doe*",
        "Modality": "CT",
        "StudyDate": "20240101",
        "AccessionNumber": "A1",
        "StudyDescription": "*brain*",
        "SeriesInstanceUID": "1.2\\1.3",
        "StationName": "CT1",
        "StudyID": "7",
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
    }
    assert "--series-uid 1.2 --series-uid 1.3" in str(found)


@pytest.mark.parametrize(
    ("options", "level"),
    [
        ({}, Level.STUDY),
        ({"patient_id": "1"}, Level.STUDY),
        ({"modality": "CT"}, Level.STUDY),
        ({"series_description": "A*"}, Level.SERIES),
        ({"series_uid": ("1.2",), "study_uid": ("1.3",)}, Level.SERIES),
        ({"sop_uid": ("1.2",)}, Level.INSTANCE),
        ({"keys": ("InstanceNumber=3",)}, Level.INSTANCE),
    ],
)
def test_the_most_particular_filter_says_the_level(options: dict[str, Any], level: Level) -> None:
    """A study is found by the modality of its series."""
    assert asked(options).level is level


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"study_uid": ("1.2*",)}, "--study-uid '1.2*': is no UID.*a UID takes no wildcards"),
        ({"study_uid": ("abc",)}, "--study-uid 'abc': is no UID"),
        ({"sop_uid": ("1" * 65,)}, "--sop-uid"),
        ({"series_uid": ("",)}, "--series-uid '': is no UID"),
        ({"patient_id": " "}, "--patient-id: is empty"),
        ({"sop_class": "CTScan"}, "--sop-class 'CTScan': no UID and no keyword"),
        ({"keys": ("StudyID",)}, "--key StudyID: say what it must be"),
        (
            {"keys": ("PatientComments=x",)},
            "--key PatientComments: the index does not have it; it has .*StudyID",
        ),
        ({"keys": ("NoSuchThing=x",)}, "NoSuchThing"),
        ({"birth_date": "1.1.1970"}, "--birth-date '1.1.1970'"),
    ],
)
def test_what_is_no_filter_is_refused_by_name(options: dict[str, Any], why: str) -> None:
    """Before the archive is opened."""
    with pytest.raises(ConfigurationError, match=why.replace("1.2*'", r"1\.2\*'")):
        asked(options)


def test_a_choice_of_instances() -> None:
    """A plain id is the patient; one with wildcards is matched."""
    plain = asked({"patient_id": "12345", "study_uid": ("1.2", "1.3"), "modality": "MR"}).selection()
    pattern = asked({"patient_id": "12*", "sop_uid": ("1.4",)}).selection()

    assert (plain.patient_id, plain.study_uids, plain.series_uids) == ("12345", ("1.2", "1.3"), ())
    assert dict(plain.matches) == {"Modality": "MR"}
    assert (pattern.patient_id, pattern.sop_instance_uids) == ("", ("1.4",))
    assert dict(pattern.matches) == {"PatientID": "12*"}


@pytest.mark.parametrize(
    ("given", "reverse", "order"),
    [
        (("studydate",), False, ("StudyDate",)),
        (("StudyDate", "PatientName"), True, ("-StudyDate", "-PatientName")),
        (("-StudyDate", "PatientName"), False, ("-StudyDate", "PatientName")),
        (("-StudyDate",), True, ("StudyDate",)),
        (("NumberOfStudyRelatedInstances",), False, ("NumberOfStudyRelatedInstances",)),
        ((), False, ()),
    ],
)
def test_an_order(given: tuple[str, ...], reverse: bool, order: tuple[str, ...]) -> None:
    """By attributes and counts, in any case, each way round."""
    assert ordering(given, reverse=reverse) == order


def test_an_order_that_is_none() -> None:
    """It names what can be had."""
    with pytest.raises(
        ConfigurationError, match=r"--sort Shoesize: rows have no such attribute; they have .*StudyDate"
    ):
        ordering(("Shoesize",), reverse=False)
    with pytest.raises(ConfigurationError, match="--reverse: say with --sort"):
        ordering((), reverse=True)
