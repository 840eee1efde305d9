"""What the index cannot say of a row (PS3.4 Section C.2.2.2)."""

from __future__ import annotations

import pytest

from dicomrelay.dicom.wildcards import Wildcards
from scp_gateway.query.matching import (
    date_time_filter,
    folded_name,
    name_filter,
    name_pattern,
    text_filter,
)

YAMADA = "Yamada^Tarou=山田^太郎=やまだ^たろう"


@pytest.mark.parametrize(
    ("asked", "name", "fits"),
    [
        ("SMITH^ANN", "SMITH^ANN", True),
        ("smith^ann", "SMITH^ANN", True),
        ("SMITH^ANN^^", "SMITH^ANN", True),
        ("SMITH^ANN", "SMITH^ANN^^^", True),
        ("SMITH^ANN", "SMITH^ANNA", False),
        ("SMITH", "SMITH^ANN", False),
        ("SMITH*", "SMITH^ANN", True),
        ("SMITH^ANN?", "SMITH^ANNA", True),
        ("SMITH^ANN?", "SMITH^ANN", False),
        ("*ANN*", "SMITH^ANN", True),
        ("yamada^tarou", YAMADA, True),
        ("山田^太郎", YAMADA, True),
        ("やまだ*", YAMADA, True),
        ("山*", "Yamada^Tarou", False),
        ("Yamada*=山田*", YAMADA, True),
        ("=山田*", YAMADA, True),
        ("=Yamada*", YAMADA, False),
        ("Yamada^Tarou==やまだ^たろう", YAMADA, True),
        ("Yamada^Tarou=佐藤^太郎", YAMADA, False),
        ("Yamada*=山田*", "Yamada^Tarou", False),
        ("SMITH", "", False),
        ("STRASSE", "Straße", True),
    ],
)
def test_a_name_is_matched_by_its_groups(asked: str, name: str, fits: bool) -> None:
    """Without regard to case and to what is empty at the end; any group where none is said."""
    assert name_filter("PatientName", asked)({"PatientName": name}) == fits
    if fits:  # and so the index must have found it: its key is the whole name, folded
        assert Wildcards(name_pattern(asked).casefold()).matches(folded_name(name))


def test_a_pattern_knows_upper_and_lower_case() -> None:
    """As a single value does; only names are compared without (PS3.4 Section C.2.2.2.1)."""
    fits = text_filter("StudyDescription", ["HEAD*"])
    assert fits({"StudyDescription": "HEAD AND NECK"})
    assert not fits({"StudyDescription": "Head and neck"})
    assert not fits({"StudyDescription": None})
    assert not fits({})


def test_any_of_several_values_may_match() -> None:
    """Modalities in Study."""
    fits = text_filter("ModalitiesInStudy", ["CT", "U*"])
    assert fits({"ModalitiesInStudy": ["MR", "CT"]})
    assert fits({"ModalitiesInStudy": ["US"]})
    assert not fits({"ModalitiesInStudy": ["MR"]})
    assert not fits({"ModalitiesInStudy": []})


@pytest.mark.parametrize(
    ("dates", "times", "date", "time", "fits"),
    [
        ("20260101-20260103", "12-10", "20260101", "115959", False),
        ("20260101-20260103", "12-10", "20260101", "120000", True),
        ("20260101-20260103", "12-10", "20260102", "000000", True),
        ("20260101-20260103", "12-10", "20260103", "105959.9", True),
        ("20260101-20260103", "12-10", "20260103", "110000", False),
        ("20260101-", "12-", "20260101", "1159", False),
        ("20260101-", "12-", "20991231", "00", True),
        ("-20260103", "-10", "20260103", "10", True),
        ("-20260103", "-10", "20260103", "11", False),
        ("20260101-20260103", "12-10", "20260101", None, True),
        ("20260102-20260103", "12-10", "20260101", None, False),
        ("20260101-20260103", "12-10", None, "120000", False),
    ],
)
def test_date_and_time_are_one_moment(
    dates: str, times: str, date: str | None, time: str | None, fits: bool
) -> None:
    """From noon of the first day to ten of the third, and not from noon to ten of each (PS3.4 Section C.2.2.2.5.1)."""
    row = {"StudyDate": date, "StudyTime": time}
    assert date_time_filter("StudyDate", "StudyTime", dates, times)(row) == fits
