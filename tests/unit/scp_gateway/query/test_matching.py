"""What the index cannot say of a row (PS3.4 Section C.2.2.2)."""

from __future__ import annotations

import pytest
from sqlalchemy import create_engine, insert, select

from archive.index.keys import folded
from archive.index.names import matches_name
from archive.index.schema import patients
from scp_gateway.query.matching import (
    date_time_filter,
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
        ("Yamada^=山田*", "Yamada=山田^太郎", True),
        ("山田^太郎", "Yamada^Tarou=山田^太郎^^=やまだ^たろう", True),
        ("YAMADA^TAROU", "Yamada^Tarou^=山田^太郎", True),
        ("STRASSE", "Straße", True),
    ],
)
def test_a_name_is_matched_by_its_groups(asked: str, name: str, fits: bool) -> None:
    """Without regard to case and to what is empty at the end; any group where none is said."""
    assert name_filter("PatientName", asked)({"PatientName": name}) == fits
    if fits:  # and so the index must have found it
        assert indexed(name, name_pattern(asked))


def indexed(name: str, asked: str) -> bool:
    """Whether the archive's index finds a patient of that name."""
    engine = create_engine("sqlite://")
    patients.metadata.create_all(engine, tables=[patients])
    with engine.begin() as connection:
        key = folded(name, is_name=True)
        connection.execute(insert(patients).values(patient_key="1", patient_name=name, patient_name_key=key))
        query = select(patients.c.id).where(matches_name(patients.c.patient_name_key, asked))
        return connection.execute(query).first() is not None


@pytest.mark.parametrize(
    ("asked", "pattern"),
    [
        ("山田*", "山田*"),
        ("山田^太郎", "山田^太郎*"),
        ("SMITH^ANN^^", "SMITH^ANN*"),
        ("=山田*", "山田*"),
        ("Yamada^==やまだ", "Yamada*"),
        ("*ANN*", "*ANN*"),
    ],
)
def test_the_index_is_asked_by_how_a_group_begins(asked: str, pattern: str) -> None:
    """A range of it is read, in any letters; only who asks with a wildcard in front has all names read."""
    assert name_pattern(asked) == pattern


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
