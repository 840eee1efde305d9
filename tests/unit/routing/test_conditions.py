"""Conditions: tests of facts, in trees, of one instance and of many (docs/design/rules.md)."""

from __future__ import annotations

import time
from typing import Any

import pytest

from dicomrelay.routing.conditions import RuleError, compiled
from dicomrelay.routing.facts import Facts, NotRecorded, Scope
from dicomrelay.settings import RuleCondition

BODY, AGE, THICK, DATE, IMAGE_TYPE, NAME = (
    0x00180015,
    0x00101010,
    0x00180050,
    0x00080020,
    0x00080008,
    0x00100010,
)
FACTS = Facts(
    modality="CT",
    source_ae_title="CT_1",
    transfer_syntax_uid="1.2.840.10008.1.2.1",
    peer_address="10.0.0.7",
    data_set_bytes=500_000,
    attributes={
        BODY: ("HEAD",),
        AGE: ("042Y",),
        THICK: ("1.25",),
        DATE: ("20260314",),
        IMAGE_TYPE: ("ORIGINAL", "PRIMARY", "AXIAL"),
        NAME: ("Müller^Jörg",),
        0x00080030: ("1015",),
        0x0008002A: ("20260314101500.5+0100",),
        0x00181063: ("fast",),
        0x00191008: ("private",),
    },
)


def holds(when: dict[str, Any], *members: Facts, minute: int = 600, weekday: int = 0) -> bool:
    return compiled(RuleCondition.model_validate(when)).holds(Scope(members or (FACTS,), minute, weekday))


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ({"transfer_syntax_uid": "1.2.840.10008.1.2.*"}, True),
        ({"peer": "10.0.0.0/24"}, True),
        ({"peer": ["10.0.1.0/24", "10.0.0.7"]}, True),
        ({"peer": "10.0.0.8"}, False),
        ({"bytes": {"min": 500_000, "max": 500_000}}, True),
        ({"bytes": {"max": 499_999}}, False),
        ({"instances": {"min": 2}}, False),
        ({"time": ["09:00-11:00"]}, True),
        ({"time": ["22:00-06:00", "10:00-10:01"]}, True),
        ({"time": ["22:00-06:00"]}, False),
        ({"weekday": ["mon", "sun"]}, True),
        ({"weekday": ["tue"]}, False),
        ({"attributes": {"BodyPartExamined": "head"}}, True),
        ({"attributes": {"0018,0015": "H*D"}}, True),
        ({"attributes": {"(0018,0015)": ["NECK", "CHEST"]}}, False),
        ({"attributes": {"ImageType": "AXIAL"}}, True),
        ({"attributes": {"PatientName": "MÜLLER*"}}, True),
        ({"attributes": {"PatientAge": {"min": "018Y", "max": "042Y"}}}, True),
        ({"attributes": {"PatientAge": {"max": "500M"}}}, False),
        ({"attributes": {"SliceThickness": {"max": 1.25}}}, True),
        ({"attributes": {"SliceThickness": 1.25}}, True),
        ({"attributes": {"SliceThickness": {"min": 1.3}}}, False),
        ({"attributes": {"StudyDate": {"min": "20260301", "max": "20260331"}}}, True),
        ({"attributes": {"StudyTime": {"min": "10", "max": "1015"}}}, True),
        ({"attributes": {"AcquisitionDateTime": {"min": "20260314", "max": "202603141016"}}}, True),
        ({"attributes": {"PatientName": {"regex": "^M.ller"}}}, True),
        ({"attributes": {"PatientName": {"regex": "^m.ller"}}}, False),
        ({"attributes": {"PatientName": {"regex": "(?i)JÖRG"}}}, True),
        ({"attributes": {"00191008": "private"}}, True),
        ({"attributes": {"PatientID": {"present": False}}}, True),
        ({"attributes": {"PatientID": {"present": True}}}, False),
        ({"attributes": {"PatientName": {"present": True}}}, True),
        ({"attributes": {"PatientID": "*"}}, True),
        ({"attributes": {"PatientID": "?*"}}, False),
        # A number that is none is in no range; FrameTime is a DS.
        ({"attributes": {"FrameTime": {"min": 0}}}, False),
        ({"attributes": {"FrameTime": "fast"}}, True),
    ],
)
def test_a_test_asks_one_fact(when: dict[str, Any], expected: bool) -> None:
    """The value representation says how a range compares; missing and malformed values pass no range."""
    assert holds(when) is expected


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ({"all": [{"modality": "CT"}, {"source_ae_title": "CT_*"}]}, True),
        ({"all": [{"modality": "CT"}, {"source_ae_title": "MR_*"}]}, False),
        ({"any": [{"modality": "MR"}, {"source_ae_title": "CT_*"}]}, True),
        ({"any": []}, False),
        ({"all": []}, True),
        ({"not": {"modality": "MR"}}, True),
        ({"not": {"any": [{"modality": "MR"}, {"all": [{"modality": "CT"}]}]}}, False),
        ({"modality": "CT", "any": [{"modality": "MR"}], "not": {"modality": "MR"}}, False),
    ],
)
def test_tests_stand_in_trees(when: dict[str, Any], expected: bool) -> None:
    """What a condition gives beside its trees must hold too."""
    assert holds(when) is expected


def test_of_many_a_test_holds_when_it_does_of_one_and_not_says_of_none() -> None:
    """Bytes are their sum, instances their number."""
    mr = Facts(modality="MR", data_set_bytes=1)
    assert holds({"modality": "MR"}, FACTS, mr)
    assert not holds({"not": {"modality": "MR"}}, FACTS, mr)
    assert holds({"bytes": {"min": 500_001, "max": 500_001}, "instances": {"min": 2, "max": 2}}, FACTS, mr)


@pytest.mark.parametrize(
    ("attributes", "place", "words"),
    [
        ({"PatientsName": "x"}, "PatientsName", "no attribute with the keyword"),
        ({"0018,9999": "x"}, "0018,9999", "no attribute"),
        ({"PixelData": "x"}, "PixelData", "Pixel Data"),
        ({"0002,0010": "x"}, "0002,0010", "group 0008"),
        ({"RequestAttributesSequence": "x"}, "RequestAttributesSequence", "VR SQ"),
        ({"PatientName": {"min": "A"}}, "PatientName", "min and max are for numbers"),
        ({"StudyDate": {"min": "March"}}, "StudyDate", "is no date"),
        ({"SliceThickness": {"min": 3, "max": 2}}, "SliceThickness", "nothing is between them"),
        ({"PatientName": {"regex": "("}}, "PatientName", "no regular expression of RE2"),
        ({"PatientName": {"regex": "(a)\\1"}}, "PatientName", "no regular expression of RE2"),
    ],
)
def test_what_cannot_be_asked_is_an_error_of_the_rules(
    attributes: dict[str, Any], place: str, words: str
) -> None:
    """It says where."""
    with pytest.raises(RuleError, match=words) as caught:
        holds({"any": [{"modality": "CT"}, {"attributes": attributes}]})
    assert caught.value.loc == ("when", "any", 1, "attributes", place)


def test_no_pattern_and_no_value_take_long() -> None:
    """What makes other engines try all ways: a second is a thousand times what it takes."""
    facts = Facts(attributes={NAME: ("a" * 1000 + "b",)})
    began = time.process_time()
    for regex in ("(a+)+$", "(a|aa)+$", "^(a|a?)+$", "(.*)(.*)(.*)(.*)(.*)[^a]c$"):
        assert not holds({"attributes": {"PatientName": {"regex": regex}}}, facts)
    assert not holds({"attributes": {"PatientName": "*a*a*a*a*a*a*a*c"}}, facts)
    assert time.process_time() - began < 1


def test_what_was_not_stored_is_unknown_unless_the_rest_settles_it() -> None:
    """A stored decision says of a name only how its own tests ended."""
    asked = {"attributes": {"PatientName": "DOE*"}}
    test = next(compiled(RuleCondition.model_validate(asked)).tests())
    stored = Facts(modality="CT", recorded={test.key: True})
    assert holds(asked, stored)
    other = {"attributes": {"PatientName": "ROE*"}}
    with pytest.raises(NotRecorded, match="PatientName"):
        holds(other, stored)
    assert holds({"any": [other, {"modality": "CT"}]}, stored)
    assert not holds({"all": [other, {"modality": "MR"}]}, stored)
    explained = compiled(RuleCondition.model_validate({"all": [other, {"modality": "CT"}]})).explain(
        Scope((stored,))
    )
    assert (explained.holds, [each.holds for each in explained.below]) == (None, [None, True])
