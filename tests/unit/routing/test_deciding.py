"""What rules that match say together, at once and of a study that is complete (docs/design/rules.md)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from dicomrelay.ledger.values_decisions import Level, Terms
from dicomrelay.routing.facts import Facts
from dicomrelay.routing.rules import Decision, Member, RuleSet
from dicomrelay.settings import DestinationSettings, RuleSettings

PACS, RESEARCH = (
    DestinationSettings(name=name, ae_title=name.upper(), host="10.0.0.9") for name in ("pacs", "research")
)
CT, MR = Facts(modality="CT"), Facts(modality="MR")


@pytest.fixture
def in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Local time with a summer time of its own."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def rules(*tables: dict[str, Any]) -> RuleSet:
    return RuleSet([RuleSettings.model_validate(table) for table in tables], [PACS, RESEARCH])


def decided(facts: Facts, *tables: dict[str, Any], at_ms: int = 0) -> Decision:
    return rules(*tables).decide(facts, at_ms)


def ms(text: str) -> int:
    return round(1000 * time.mktime(time.strptime(text, "%Y-%m-%d %H:%M")))


def test_no_rule_is_asked_behind_one_that_matches_and_says_stop() -> None:
    """One that does not match stops nothing."""
    tables = (
        {"when": {"modality": "MR"}, "send_to": ["research"], "stop": True},
        {"send_to": ["pacs"]},
    )
    assert decided(CT, *tables).destinations == ("pacs",)
    stopped = decided(MR, *tables)
    assert (stopped.destinations, stopped.rules, stopped.stopped) == (("research",), (0,), 0)


@pytest.mark.parametrize(
    ("tables", "edits"),
    [
        (({"when": {"modality": "CT"}, "send_to": ["research"], "edits": "basic"},), "basic"),
        (({"when": {"modality": "MR"}, "send_to": ["research"], "edits": "basic"},), "basic"),
        (
            (
                {"when": {"modality": "MR"}, "send_to": ["research"], "edits": "basic"},
                {"send_to": ["research"], "edits": "other"},
            ),
            "other",
        ),
        (
            (
                {"when": {"modality": "MR"}, "send_to": ["research"], "edits": "basic"},
                {"send_to": ["research"]},
            ),
            "",
        ),
        (({"send_to": ["pacs"], "edits": "basic"},), ""),
    ],
)
def test_what_a_person_sends_goes_there_as_the_rules_would_send_it(
    tables: tuple[dict[str, Any], ...], edits: str
) -> None:
    """The rules that match first; else what all of them agree in."""
    asked = rules(*tables)
    assert asked.edits_where_named("research", asked.decide(CT)) == edits


@pytest.mark.parametrize(
    ("said", "expected"),
    [((None, None), None), ((False, None), False), ((False, True), True), ((True, False), True)],
)
def test_one_rule_that_archives_is_enough(said: tuple[bool | None, ...], expected: bool | None) -> None:
    """Else one that does not; else nobody has said anything."""
    tables = [{"send_to": ["pacs"], **({} if each is None else {"archive": each})} for each in said]
    assert decided(CT, *tables).archive is expected


def test_once_a_rule_says_that_copies_are_edited_no_other_sends_the_original() -> None:
    """In whatever order they stand; of two profiles the first counts."""
    plain, edited = {"send_to": ["pacs", "research"]}, {"send_to": ["research"], "edits": "basic"}
    for tables in ((plain, edited), (edited, plain), (edited, {"send_to": ["research"], "edits": "other"})):
        terms = decided(CT, *tables).terms
        assert terms["research"].edits == "basic"
        assert terms.get("pacs", Terms()).edits == ""


def test_renditions_and_prefetches_add_up() -> None:
    """Each once, in order."""
    came = decided(
        CT,
        {"renditions": ["preview"], "prefetch": "priors"},
        {"renditions": ["preview", "thumbnail"], "prefetch": "priors"},
    )
    assert (came.renditions, came.prefetch) == (("preview", "thumbnail"), ("priors",))


@pytest.mark.usefixtures("in_berlin")
@pytest.mark.parametrize(
    ("now", "said", "begins"),
    [
        ("2026-05-04 12:00", {}, None),
        ("2026-05-04 12:00", {"delay_s": 600}, "2026-05-04 12:10"),
        ("2026-05-04 12:00", {"windows": ["22:00-06:00"]}, "2026-05-04 22:00"),
        ("2026-05-04 23:00", {"windows": ["22:00-06:00"]}, None),
        ("2026-05-04 05:55", {"windows": ["22:00-06:00"], "delay_s": 600}, "2026-05-04 22:00"),
        ("2026-05-31 23:59", {"windows": ["06:00-07:00", "12:00-13:00"]}, "2026-06-01 06:00"),
        # Summer time begins between: 10 hours by the clock, 9 on a watch.
        ("2026-03-28 22:00", {"windows": ["08:00-09:00"]}, "2026-03-29 08:00"),
    ],
)
def test_what_a_rule_puts_off_begins_by_the_local_clock(
    now: str, said: dict[str, Any], begins: str | None
) -> None:
    """After the delay, within the windows; at once where that is now."""
    terms = decided(CT, {"send_to": ["pacs"], **said}, at_ms=ms(now)).terms["pacs"]
    assert terms.not_before_ms == (0 if begins is None else ms(begins))


def test_of_two_rules_that_put_off_the_earlier_counts() -> None:
    """One that does not put off is the earliest."""
    late, later = {"send_to": ["pacs"], "delay_s": 60}, {"send_to": ["pacs"], "delay_s": 600}
    assert decided(CT, later, late, at_ms=1000).terms["pacs"].not_before_ms == 61_000
    assert decided(CT, later, {"send_to": ["pacs"]}, at_ms=1000).terms["pacs"].not_before_ms == 0


def members(*of_series: tuple[str, Facts, int | None]) -> list[Member]:
    return [
        Member(str(number), series, facts, stopped)
        for number, (series, facts, stopped) in enumerate(of_series)
    ]


def test_a_rule_of_studies_is_asked_of_all_its_instances_together() -> None:
    """And of none of them by itself; what it says holds for each."""
    asked = rules(
        {"trigger": "study", "when": {"all": [{"modality": "CT"}, {"modality": "MR"}]}, "send_to": ["pacs"]}
    )
    assert asked.decide(CT).destinations == ()
    (study,) = asked.decide_later("1.2", members(("1", CT, None), ("2", MR, None)), 0)
    assert (study.level, study.subject) == (Level.STUDY, "1.2")
    assert {key: each.destinations for key, each in study.of_members.items()} == {
        "0": ("pacs",),
        "1": ("pacs",),
    }
    assert asked.decide_later("1.2", members(("1", CT, None)), 0)[0].decision.destinations == ()


def test_a_rule_of_series_is_asked_of_each_series() -> None:
    """Rules of studies go with it, in the order in which they stand."""
    asked = rules(
        {"trigger": "series", "when": {"modality": "MR"}, "send_to": ["research"], "stop": True},
        {"trigger": "study", "when": {"instances": {"min": 3}}, "send_to": ["pacs"]},
    )
    found = asked.decide_later("1.2", members(("1", CT, None), ("1", CT, None), ("2", MR, None)), 0)
    assert [(each.level, each.subject, each.decision.destinations) for each in found] == [
        (Level.SERIES, "1", ("pacs",)),
        (Level.SERIES, "2", ("research",)),
    ]


def test_an_instance_whose_own_rules_ended_is_left_out_of_what_stands_behind() -> None:
    """Of what stands before it is not."""
    asked = rules(
        {"trigger": "study", "send_to": ["research"]},
        {"when": {"modality": "MR"}, "stop": True},
        {"trigger": "study", "send_to": ["pacs"]},
    )
    (study,) = asked.decide_later("1.2", members(("1", CT, None), ("1", MR, 1)), 0)
    assert study.of_members["0"].destinations == ("research", "pacs")
    assert study.of_members["1"].destinations == ("research",)
    assert study.before[1].destinations == ("research",)
