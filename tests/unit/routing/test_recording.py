"""What is stored of a decision: enough to make it again, and nothing about a patient (docs/design/rules.md)."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from dicomrelay.ledger.values import InstanceFacts
from dicomrelay.ledger.values_decisions import Decided, DecisionRow, InstanceDecision, LaterDecision, Level
from dicomrelay.routing.facts import Facts
from dicomrelay.routing.recording import asks_for_more, of_instance, of_later, outcome, read, stored_facts
from dicomrelay.routing.replay import Replay, replay_study
from dicomrelay.routing.rules import Member, RuleSet
from dicomrelay.settings import DestinationSettings, RuleSettings

DESTINATIONS = [
    DestinationSettings(name=name, ae_title=name.upper(), host="10.0.0.9") for name in ("pacs", "other")
]
BODY, NAME, BIRTH, THICK, COMMENT = 0x00180015, 0x00100010, 0x00100030, 0x00180050, 0x00204000
AT = 1_780_000_000_000
_KEYWORDS = {
    "BodyPartExamined": ("HEAD", "NECK", "CANARY" * 20),
    "PatientName": ("CANARY^A", "CANARY^B"),
    "PatientBirthDate": ("19710102", "CANARY"),
    "SliceThickness": ("1.5", "CANARY" * 20),
    "ImageComments": ("CANARY", ""),
}
_TAGS = dict(zip(_KEYWORDS, (BODY, NAME, BIRTH, THICK, COMMENT), strict=True))
_TESTS: dict[str, list[Any]] = {
    "BodyPartExamined": ["HEAD", ["N*"], {"present": False}, {"regex": "CANARY$"}],
    "PatientName": ["*A", "*B", {"present": True}],
    "PatientBirthDate": [{"min": "19700101", "max": "19800101"}, {"present": False}],
    "SliceThickness": [{"max": 2}, {"min": 2}, 1.5],
    "ImageComments": ["CANARY", "*"],
}


def rules(*tables: dict[str, Any]) -> RuleSet:
    return RuleSet([RuleSettings.model_validate(table) for table in tables], DESTINATIONS)


@st.composite
def conditions(draw: st.DrawFn, depth: int = 2) -> dict[str, Any]:
    when: dict[str, Any] = {}
    if draw(st.booleans()):
        keyword = draw(st.sampled_from(sorted(_TESTS)))
        when["attributes"] = {keyword: draw(st.sampled_from(_TESTS[keyword]))}
    if draw(st.booleans()):
        when["modality"] = draw(st.sampled_from(["CT", "MR", "*"]))
    if depth and draw(st.booleans()):
        kind = draw(st.sampled_from(["all", "any", "not"]))
        below = conditions(depth - 1)
        when[kind] = draw(below) if kind == "not" else draw(st.lists(below, max_size=2))
    return when


@st.composite
def tables(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "when": draw(conditions()),
        "trigger": draw(st.sampled_from(["instance", "series", "study"])),
        "send_to": draw(st.lists(st.sampled_from(["pacs", "other"]), max_size=2)),
        "priority": draw(st.sampled_from(["urgent", "normal", "bulk"])),
        "stop": draw(st.booleans()),
    }


@st.composite
def instances(draw: st.DrawFn) -> Facts:
    given_values = {
        _TAGS[keyword]: (value,) if value else ()
        for keyword, values in _KEYWORDS.items()
        if (value := draw(st.sampled_from([*values, None]))) is not None
    }
    return Facts(modality=draw(st.sampled_from(["CT", "MR"])), attributes=given_values)


def stored(number: int, series: str, facts: Facts, decided: Decided) -> InstanceDecision:
    key = str(number)
    instance = InstanceFacts(
        key,
        key,
        "h",
        facts.sop_class_uid,
        f"1.2.{number}",
        "1.2",
        series,
        "",
        facts.modality,
        "",
        0,
        0,
        "",
        "",
        False,
    )
    row = DecisionRow(number, AT, Level.INSTANCE, key, "1.2", "", decided)
    return InstanceDecision(instance, "", "", "", row)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(tables(), max_size=4),
    st.lists(st.tuples(st.sampled_from("12"), instances()), min_size=1, max_size=4),
)
def test_the_version_that_decided_says_the_same_of_what_it_stored(
    made: list[dict[str, Any]], arrived: list[tuple[str, Facts]]
) -> None:
    """Whatever the rules ask: a replay finds nothing changed and nothing unknown, and no patient in what it reads."""
    asked = rules(*made)
    kept, members = [], []
    for number, (series, facts) in enumerate(arrived):
        decision = asked.decide(facts, AT)
        kept.append(stored(number, series, facts, of_instance(asked, facts, decision, AT)))
        members.append(Member(str(number), series, facts, decision.stopped))
        again = asked.decide(stored_facts(kept[-1]), AT)
        assert outcome(again) == outcome(decision)
        assert not asks_for_more(asked, stored_facts(kept[-1]))
        assert "CANARY" not in kept[-1].row.decided.inputs
        assert "1971" not in kept[-1].row.decided.inputs
    later = [
        DecisionRow(100 + number, AT, each.level, each.subject, "1.2", "", of_later(asked, each, AT))
        for number, each in enumerate(asked.decide_later("1.2", members, AT))
    ]
    assert all("CANARY" not in row.decided.inputs for row in later)
    found = Replay()
    replay_study(found, kept, later, asked, reader=lambda *_: None, archived=True)
    assert (found.decisions, found.changed, found.unknown) == (len(kept), 0, 0)


def test_a_change_of_one_rule_is_told_to_the_last_instance() -> None:
    """Which destinations gain and lose, and what would go nowhere."""
    before = rules(
        {"when": {"modality": "CT"}, "send_to": ["pacs"]}, {"when": {"modality": "MR"}, "archive": True}
    )
    after = rules(
        {"when": {"modality": "MR"}, "send_to": ["other"]}, {"when": {"modality": "CT"}, "archive": False}
    )
    kept = []
    for number, modality in enumerate(["CT", "CT", "MR"]):
        facts = Facts(modality=modality)
        kept.append(stored(number, "1", facts, of_instance(before, facts, before.decide(facts, AT), AT)))
    found = Replay()
    replay_study(found, kept, [], after, reader=lambda *_: None, archived=True)
    assert (found.changed, found.nowhere, dict(found.gained), dict(found.lost)) == (
        3,
        2,
        {"other": 1},
        {"pacs": 2},
    )
    assert (found.changes[0].what, found.changes[0].nowhere) == (("destinations", "archive"), True)
    assert found.percent == 100.0


def test_what_other_rules_ask_is_read_from_the_bytes_or_unknown() -> None:
    """And counts as changed when it comes to the limit."""
    before = rules({"send_to": ["pacs"]})
    after = rules({"when": {"attributes": {"PatientName": "A*"}}, "send_to": ["pacs"]})
    facts = Facts()
    kept = [stored(0, "1", facts, of_instance(before, facts, before.decide(facts, AT), AT))]
    found = Replay()
    replay_study(found, kept, [], after, reader=lambda *_: None, archived=True)
    assert (found.unknown, dict(found.asked_for), found.percent) == (1, {"PatientName": 1}, 100.0)
    found = Replay()
    replay_study(found, kept, [], after, reader=lambda *_: Facts(attributes={NAME: ("AB",)}), archived=True)
    assert (found.unknown, found.changed) == (0, 0)


def test_what_is_stored_is_read_tolerantly() -> None:
    """A row that something else wrote says nothing."""
    assert read("no JSON") == read("[1]") == {}
    assert json.loads(of_instance(rules(), Facts(), rules().decide(Facts()), AT).outcome)["destinations"] == {
        "pacs": {},
        "other": {},
    }
    assert LaterDecision(Level.STUDY, "1", Decided("", "", "", ""), {}, "normal").members == {}
