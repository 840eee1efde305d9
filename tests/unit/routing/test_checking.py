"""What can be said of rules before they are asked (docs/design/rules.md)."""

from __future__ import annotations

from typing import Any

import pytest

from dicomrelay.routing.checking import Known, check
from dicomrelay.settings import RuleSettings

KNOWN = Known(destinations=["pacs", "research"], edits=["basic", "other"], pulls=["priors"])
ALL, CT = {"send_to": ["pacs"]}, {"when": {"modality": "CT"}, "send_to": ["pacs"]}


def found(*tables: dict[str, Any]) -> list[tuple[str, str, bool]]:
    rules = [RuleSettings.model_validate(table) for table in tables]
    return [(".".join(map(str, each.loc)), each.reason, each.is_error) for each in check(rules, KNOWN)]


def test_rules_that_are_sound_are_passed_over_in_silence() -> None:
    """Whatever they do."""
    assert found(
        CT,
        {**ALL, "edits": "basic", "prefetch": "priors", "renditions": ["preview"]},
        {
            "trigger": "study",
            "when": {"any": [{"modality": "MR"}, {"not": {"modality": "CT"}}]},
            "stop": True,
        },
    ) == [("rules.0.edits", found(CT, {**ALL, "edits": "basic"})[0][1], False)]


@pytest.mark.parametrize(
    ("table", "key", "words"),
    [
        ({"send_to": ["paks"]}, "rules.0.send_to", "there is no destination 'paks'; known: pacs, research"),
        (
            {**ALL, "edits": "gone"},
            "rules.0.edits",
            "there is no profile in [[edits]] 'gone'; known: basic, other",
        ),
        ({"prefetch": "gone"}, "rules.0.prefetch", "there is no entry in [[pulls]] 'gone'; known: priors"),
        (
            {"when": {"not": {"attributes": {"Nonsense": "x"}}}},
            "rules.0.when.not.attributes.Nonsense",
            "PS3.6 has no attribute",
        ),
    ],
)
def test_what_nobody_has_set_up_is_an_error(table: dict[str, Any], key: str, words: str) -> None:
    """It says what there is."""
    ((place, reason, is_error),) = found(table)
    assert (place, is_error) == (key, True)
    assert reason.startswith(words)


def test_names_that_only_a_rule_keeps_back_are_told() -> None:
    """A C-MOVE and a replay ask no rule."""
    known = Known(
        destinations=["pacs", "research"],
        edits=["deid", "plain"],
        deidentifying=["deid"],
        unedited=["research"],
    )
    tables = (
        {"send_to": ["research"], "edits": "deid"},
        {"send_to": ["pacs"], "edits": "deid"},
        {"send_to": ["research"], "edits": "plain"},
    )
    told = [check([RuleSettings.model_validate(table)], known) for table in tables]
    assert [len(each) for each in told] == [1, 0, 0]
    assert (told[0][0].loc, told[0][0].is_error) == (("rules", 0, "edits"), False)


def test_every_test_that_cannot_be_asked_is_named() -> None:
    """In one look, wherever it stands in the tree."""
    wrong = {"attributes": {"Nonsense": "x", "PatientAge": {"min": "old"}, "Rows": {"regex": "("}}}
    places = [
        place for place, _, _ in found({**ALL, "when": {**wrong, "any": [{"not": wrong}]}, "edits": "gone"})
    ]
    names = ("Nonsense", "PatientAge", "Rows")
    assert sorted(places) == sorted(
        [
            *(f"rules.0.when.attributes.{name}" for name in names),
            *(f"rules.0.when.any.0.not.attributes.{name}" for name in names),
            "rules.0.edits",
        ]
    )


def test_two_rules_of_one_name_are_an_error() -> None:
    """No report could say which it was."""
    assert found({"name": "a", **CT}, {"name": "a", **ALL}) == [
        ("rules.1.name", "'a' is the name of rule 0 too", True)
    ]


@pytest.mark.parametrize(
    ("first", "second", "reached"),
    [
        ({**ALL, "stop": True}, CT, False),
        ({**CT, "stop": True}, CT, False),
        (
            {**CT, "stop": True},
            {"when": {"modality": "CT", "source_ae_title": "A"}, "send_to": ["pacs"]},
            False,
        ),
        ({**CT, "stop": True}, {"when": {"all": [{"source_ae_title": "A"}, {"modality": "CT"}]}}, False),
        ({**ALL, "stop": True}, {**CT, "trigger": "study"}, False),
        (ALL, CT, True),
        ({**CT, "stop": True}, ALL, True),
        ({**CT, "stop": True}, {**CT, "trigger": "study"}, True),
        ({**ALL, "stop": True, "trigger": "study"}, CT, True),
        ({"when": {"any": [{"modality": "CT"}, {"modality": "MR"}]}, "stop": True}, CT, True),
    ],
)
def test_a_rule_that_is_never_asked_is_told(
    first: dict[str, Any], second: dict[str, Any], reached: bool
) -> None:
    """All that it could match ends before; a study may have an instance that did not."""
    never = [key for key, reason, _ in found(first, second) if "never asked" in reason]
    assert never == ([] if reached else ["rules.1"])


@pytest.mark.parametrize(
    ("when", "never"),
    [
        ({"modality": []}, True),
        ({"any": []}, True),
        ({"time": []}, True),
        ({"modality": "CT", "not": {"modality": "CT"}}, True),
        ({"all": [{"modality": "CT"}, {"not": {"modality": "CT"}}]}, True),
        ({"not": {}}, True),
        ({"not": {"any": []}}, False),
        ({"any": [{"modality": []}, {"modality": "CT"}]}, False),
        ({"modality": "CT", "not": {"modality": "MR"}}, False),
    ],
)
def test_a_condition_that_never_holds_is_told(when: dict[str, Any], never: bool) -> None:
    """As far as it stands in the condition itself."""
    assert [key for key, _, _ in found({"when": when, "send_to": ["pacs"]})] == (
        ["rules.0.when"] if never else []
    )


def test_a_destination_that_gets_the_original_too_is_told() -> None:
    """By a rule that matches alone, nothing would be edited; of two profiles only the first counts."""
    edited = {"when": {"modality": "CT"}, "send_to": ["research"], "edits": "basic"}
    ((key, reason, is_error),) = found(edited, {"send_to": ["research"]})
    assert (key, is_error) == ("rules.1.edits", False)
    assert "gets the original" in reason
    ((key, reason, _),) = found(edited, {"send_to": ["research"], "edits": "other"})
    assert (key, reason[:34]) == ("rules.1.edits", "research gets 'other' by this rule")


def test_what_would_lie_in_the_spool_for_ever_is_told() -> None:
    """No archive, and no destination."""
    assert [key for key, _, _ in found({"archive": False})] == ["rules.0.archive"]
