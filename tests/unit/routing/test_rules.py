"""Rules: which instance goes where (docs/design/routing.md)."""

from __future__ import annotations

from typing import Any

import pytest

from dicomrelay.ledger.values import Priority
from dicomrelay.routing import Facts, decide, glob_matches, matches, rules_version
from dicomrelay.settings import DestinationSettings, RuleCondition, RuleSettings

PACS = DestinationSettings(name="pacs", ae_title="PACS", host="10.0.0.9")
BACKUP = DestinationSettings(name="backup", ae_title="BACKUP", host="10.0.0.10")
FACTS = Facts(
    modality="CT",
    source_ae_title="CT_ROOM1",
    called_ae_title="DICOMRELAY",
    sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
)


def rule(send_to: list[str], priority: str = "normal", **when: Any) -> RuleSettings:
    return RuleSettings(when=RuleCondition(**when), send_to=send_to, priority=priority)


def test_without_rules_everything_goes_everywhere() -> None:
    """In the order of the settings, with normal priority."""
    decision = decide([], [PACS, BACKUP], FACTS)
    assert decision.destinations == ("pacs", "backup")
    assert (decision.priority, decision.rules) == (Priority.NORMAL, ())
    assert decide([], [], FACTS).destinations == ()


def test_a_destination_for_moves_only_gets_what_a_rule_says_and_no_more() -> None:
    """Without rules nothing; and the version of the rules says that it is so."""
    viewer = DestinationSettings(name="viewer", ae_title="VIEWER", host="10.0.0.11", moves_only=True)
    assert decide([], [PACS, viewer], FACTS).destinations == ("pacs",)
    there = rule(["viewer"])
    assert decide([there], [PACS, viewer], FACTS).destinations == ("viewer",)
    assert rules_version([], [PACS, viewer]) == rules_version([], [PACS])
    assert rules_version([there], [PACS, viewer]) != rules_version([there], [PACS])


def test_all_rules_that_match_add_up() -> None:
    """The union of their destinations, each once; the highest of their priorities; which ones they were."""
    rules = [
        rule(["backup"], "bulk"),
        rule(["pacs"], "urgent", modality="MR"),
        rule(["pacs", "backup"], "normal", modality=["MR", "CT"]),
    ]
    decision = decide(rules, [PACS, BACKUP], FACTS)
    assert decision.destinations == ("backup", "pacs")
    assert (decision.priority, decision.rules) == (Priority.NORMAL, (0, 2))


def test_a_version_says_which_rules_they_are() -> None:
    """The same for the same rules; another for other ones, for another order, and where there is more to choose from."""
    first, second = rule(["pacs"], modality="CT"), rule(["backup"], "bulk")
    version = rules_version([first, second], [PACS, BACKUP])
    assert version == rules_version([rule(["pacs"], modality="CT"), rule(["backup"], "bulk")], [PACS, BACKUP])
    others = [
        rules_version([second, first], [PACS, BACKUP]),
        rules_version([first, rule(["backup"], "urgent")], [PACS, BACKUP]),
        rules_version([first, second], [PACS]),
        rules_version([], [PACS, BACKUP]),
    ]
    assert version not in others
    assert len(set(others)) == len(others)


def test_urgent_wins_over_normal_and_bulk() -> None:
    """In whatever order the rules stand."""
    for order in (["bulk", "urgent", "normal"], ["urgent", "normal", "bulk"], ["normal", "bulk", "urgent"]):
        assert decide([rule(["pacs"], priority) for priority in order], [PACS], FACTS).priority == "urgent"
    assert decide([rule(["pacs"], "bulk")], [PACS], FACTS).priority is Priority.BULK


def test_no_match_and_an_empty_send_to_mean_the_archive_only() -> None:
    """Neither falls back to everything."""
    assert decide([rule(["pacs"], modality="MR")], [PACS], FACTS).destinations == ()
    to_archive = decide([rule([], modality="CT")], [PACS], FACTS)
    assert (to_archive.destinations, to_archive.rules) == ((), (0,))


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ({}, True),
        ({"modality": "ct"}, True),
        ({"modality": ["MR", "CT"]}, True),
        ({"modality": []}, False),
        ({"modality": ""}, False),
        ({"source_ae_title": "ct_*"}, True),
        ({"source_ae_title": "CT_ROOM?"}, True),
        ({"source_ae_title": "CT_ROOM??"}, False),
        ({"source_ae_title": "CT"}, False),
        ({"source_ae_title": " CT_ROOM1 "}, True),
        ({"called_ae_title": "OTHER"}, False),
        ({"sop_class_uid": "1.2.840.10008.5.1.4.1.1.2"}, True),
        ({"sop_class_uid": "1.2.840.10008.5.1.4.1.1.2*"}, True),
        ({"sop_class_uid": "1.2.840.10008.5.1.4.1.1.4"}, False),
        ({"modality": "CT", "source_ae_title": "MR_*"}, False),
        ({"modality": "CT", "source_ae_title": "CT_*", "called_ae_title": "*"}, True),
    ],
)
def test_a_condition_wants_all_that_it_gives(when: dict[str, Any], expected: bool) -> None:
    """A list means any of its patterns; letter case and spaces around do not count."""
    assert matches(RuleCondition(**when), FACTS) is expected


def test_what_the_instance_does_not_say_matches_only_anything() -> None:
    """No modality: `*` holds, a value does not."""
    assert matches(RuleCondition(modality="*"), Facts())
    assert not matches(RuleCondition(modality="?*"), Facts())
    assert not matches(RuleCondition(modality="CT"), Facts())


@pytest.mark.parametrize(
    ("pattern", "value", "expected"),
    [
        ("[A]", "[A]", True),
        ("[A]", "A", False),
        ("A.C", "ABC", False),
        ("*", "", True),
        ("", "", True),
        ("A*B*C", "AxxBxxC", True),
        ("A*B*C", "AxxCxxB", False),
        ("A", "A\n", True),
    ],
)
def test_only_the_star_and_the_question_mark_are_wildcards(pattern: str, value: str, expected: bool) -> None:
    """A bracket is a character that AE titles may hold."""
    assert glob_matches(pattern, value) is expected
