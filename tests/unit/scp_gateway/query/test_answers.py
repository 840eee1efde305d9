"""A row as an identifier, in the character set of whoever asked."""

from __future__ import annotations

import pytest

from dicomrelay.dicom.query_models import STUDY_ROOT
from dicomrelay.dimse.identifier import decode_identifier
from dicomrelay.dimse.query_keys import build_identifier, parse_key
from scp_gateway.query.answers import AnswerWriter
from scp_gateway.query.character_sets import UNICODE, CharacterSet
from scp_gateway.query.keys import read_query
from scp_gateway.query.question import Agreed, FindQuery
from tests.unit.scp_gateway.query.test_keys import ATTRIBUTES

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
ROW = {"StudyInstanceUID": "1.2.3", "PatientName": "MÜLLER^JÖRG", "ModalitiesInStudy": ["CT", "MR"]}


def writer(*character_set: str, syntax: str = EXPLICIT) -> AnswerWriter:
    identifier = build_identifier(
        map(parse_key, ["QueryRetrieveLevel=STUDY", "PatientName", "ModalitiesInStudy", "StudyDate"])
    )
    if character_set:
        identifier.SpecificCharacterSet = list(character_set)
    query = read_query(identifier, STUDY_ROOT, Agreed(), attributes=ATTRIBUTES, ae_title="OURS")
    assert isinstance(query, FindQuery)
    return AnswerWriter(query, syntax)


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT])
def test_an_answer_has_what_was_asked_for(syntax: str) -> None:
    """And level, unique key and Retrieve AE Title; empty where there is nothing."""
    answer = decode_identifier(writer(syntax=syntax).identifier(ROW), syntax)
    assert answer.QueryRetrieveLevel == "STUDY"
    assert answer.RetrieveAETitle == "OURS"
    assert answer.StudyInstanceUID == "1.2.3"
    assert list(answer.ModalitiesInStudy) == ["CT", "MR"]
    assert "StudyDate" in answer
    assert not answer.StudyDate
    assert "StudyTime" not in answer


@pytest.mark.parametrize(
    ("asked", "name", "answered"),
    [
        (["ISO_IR 100"], "MÜLLER^JÖRG", ["ISO_IR 100"]),
        (["ISO_IR 192"], "MÜLLER^JÖRG", ["ISO_IR 192"]),
        ([], "MÜLLER^JÖRG", ["ISO_IR 192"]),
        (["ISO_IR 6"], "MÜLLER^JÖRG", ["ISO_IR 192"]),
        (["ISO_IR 144"], "MÜLLER^JÖRG", ["ISO_IR 192"]),
        (["ISO_IR 144"], "Люкceмбypг", ["ISO_IR 144"]),
        (["ISO_IR 100"], "Yamada^Tarou=山田^太郎", ["ISO_IR 192"]),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎", ["", "ISO 2022 IR 87"]),
        (["", "ISO 2022 IR 87"], "MÜLLER^JÖRG", ["ISO_IR 192"]),
        (["ISO_IR 13"], "ﾔﾏﾀﾞ^ﾀﾛｳ", ["ISO_IR 13"]),
        (["ISO_IR 13"], "山田", ["ISO_IR 192"]),
        (["GB18030"], "Wang^XiaoDong=王^小东", ["GB18030"]),
        (["ISO_IR 192", "ISO 2022 IR 87"], "山田", ["ISO_IR 192"]),
        (["NO SUCH SET"], "MÜLLER^JÖRG", ["ISO_IR 192"]),
        (["NO SUCH SET"], "SMITH", ["ISO_IR 192"]),
        ([], "SMITH", []),
        (["ISO_IR 100"], "SMITH", ["ISO_IR 100"]),
    ],
)
def test_text_is_in_the_requests_character_set_or_in_utf_8(
    asked: list[str], name: str, answered: list[str]
) -> None:
    """PS3.4 Section C.4.1.1.3.2: whatever it is in, it can be read, by a reader that is not ours."""
    raw = writer(*asked).identifier({**ROW, "PatientName": name})
    answer = decode_identifier(raw, EXPLICIT)
    assert str(answer.PatientName) == name
    found = answer.get("SpecificCharacterSet", [])
    assert (list(found) if not isinstance(found, str) else [found]) == answered


def test_a_character_set_holds_what_it_can_and_no_more() -> None:
    """None says that it cannot; nothing is replaced."""
    assert CharacterSet.of(["ISO_IR 100"]).encoded("Ü", "LO") == b"\xdc"
    assert CharacterSet.of(["ISO_IR 100"]).encoded("山", "LO") is None
    assert CharacterSet.of([""]).encoded("Ü", "LO") is None
    assert UNICODE.encoded("山", "PN") == "山".encode()
    assert UNICODE.encoded("Ü", "CS") is None  # no character set speaks for code strings


def test_too_many_values_are_cut_to_what_the_vr_holds() -> None:
    """A study of a thousand SOP classes is no reason to fail."""
    row = {**ROW, "ModalitiesInStudy": [f"M{number:05}" for number in range(20_000)]}
    answer = decode_identifier(writer().identifier(row), EXPLICIT)
    assert 9_000 < len(answer.ModalitiesInStudy) < 10_000
