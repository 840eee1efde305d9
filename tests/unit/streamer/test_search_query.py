"""Parameters of a search as a query of the index, or why they are none."""

from __future__ import annotations

from urllib.parse import parse_qsl

import pytest

from archive.attributes import Level
from streamer.answers import HttpError
from streamer.search_query import Asked, asked


def parsed(text: str, level: Level = Level.STUDY, **path: str) -> Asked:
    return asked(level, parse_qsl(text, keep_blank_values=True), path)


def matches(text: str, level: Level = Level.STUDY, **path: str) -> dict[str, str]:
    query = parsed(text, level, **path).query
    assert query is not None
    return dict(query.matches)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("PatientID=A*&00100010=M%C3%BCller", {"PatientID": "A*", "PatientName": "Müller"}),
        ("0020000d=1.2", {"StudyInstanceUID": "1.2"}),
        ("StudyInstanceUID=1.2,1.3&StudyInstanceUID=1.4", {"StudyInstanceUID": "1.2\\1.3\\1.4"}),
        ("StudyInstanceUID=1.2%5C1.3", {"StudyInstanceUID": "1.2\\1.3"}),
        ("StudyDate=20240101-20241231", {"StudyDate": "20240101-20241231"}),
        ("StudyDate=2024.01.31", {"StudyDate": "20240131"}),
        ("StudyTime=1030", {"StudyTime": "1030-1030"}),
        ("PatientID=", {"PatientID": ""}),
        ("ModalitiesInStudy=CT", {"ModalitiesInStudy": "CT"}),
    ],
)
def test_attributes_are_matched_by_keyword_or_tag(text: str, expected: dict[str, str]) -> None:
    """In the one form that the index knows; a space and a plus are what they stand for."""
    assert matches(text) == expected


def test_what_is_matched_is_answered_too() -> None:
    """PS3.18 Table 10.6.3-3."""
    assert parsed("IssuerOfPatientID=x&includefield=00081010,all").include >= {
        "IssuerOfPatientID",
        "StationName",
        "all",
    }


def test_the_path_narrows() -> None:
    """A UID of the path and another of the query match nothing."""
    assert matches("", Level.SERIES, study="1.2") == {"StudyInstanceUID": "1.2"}
    assert matches("StudyInstanceUID=1.2,1.3", Level.SERIES, study="1.2") == {"StudyInstanceUID": "1.2"}
    assert parsed("StudyInstanceUID=1.3", Level.SERIES, study="1.2").query is None
    assert parsed("limit=0").query is None


def test_flags_pages_and_order() -> None:
    """As they are said, with the index's bound for a page."""
    query = parsed("fuzzymatching=TRUE&limit=5000&offset=7&orderby=-StudyDate,00100020").query
    assert query is not None
    assert (query.fuzzy, query.limit, query.offset) == (True, 1000, 7)
    assert query.sort == ("-StudyDate", "PatientID")
    assert not parsed("fuzzymatching=false").warnings


def test_what_is_not_done_is_said() -> None:
    """A warning, and the rest of the search."""
    found = parsed(
        "emptyvaluematching=true&multiplevaluematching=true&includefield=PixelSpacing,Rows,StudyDate,00400275.00400009"
    )
    assert [warning.split()[1] for warning in found.warnings[:2]] == [
        "emptyvaluematching",
        "multiplevaluematching",
    ]
    assert found.warnings[2].startswith("includefield: PixelSpacing, Rows, 00400275.00400009 are not")
    assert found.query is not None
    assert not parsed("includefield=Rows,NumberOfFrames,StudyDate", Level.INSTANCE).warnings


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("fuzzymatching=yes", "fuzzymatching"),
        ("limit=1&limit=2", "limit"),
        ("limit=-1", "limit"),
        ("limit=%D9%A3", "limit"),
        ("PatientID=1&00100020=2", "PatientID"),
        ("StudyDate=banana", "StudyDate"),
        ("StudyDate=2024*", "StudyDate"),
        ("StudyTime=99", "StudyTime"),
        ("StudyInstanceUID=1.2.x", "StudyInstanceUID"),
        ("Nonsense=1", "Nonsense"),
        ("includefield=Nonsense", "includefield"),
        ("includefield=StudyDate%0d%0aX: y", "includefield"),
        ("orderby=Nonsense", "orderby"),
        ("orderby=ModalitiesInStudy", "orderby"),
    ],
)
def test_what_makes_no_sense_is_refused(text: str, name: str) -> None:
    """400, with the parameter's name."""
    with pytest.raises(HttpError, match=name) as found:
        parsed(text)
    assert found.value.status == 400
