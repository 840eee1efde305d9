"""What pages show of what the ledger says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dicomrelay.ledger.flow_summary import DestinationFlow
from dicomrelay.ledger.rates import History
from dicomrelay.ledger.rates_counting import Moved
from dicomrelay.ledger.values import Attention, AttentionKind, DestinationSummary, StudySummary, TransferState
from dicomrelay.ledger.values_operations import (
    EVERYTHING,
    Change,
    Changed,
    Replayed,
    Subject,
    SubjectKind,
    Verb,
)
from dicomrelay.ledger.work_waiting import WorkWaiting
from monitor import words
from monitor.loader import with_our_pages
from monitor.pages import study_rows
from monitor.pages import transfer_rows as rows
from monitor.pages.attention import groups
from monitor.said import Said, Word

FLOW = DestinationFlow(
    name="pacs",
    kind="configured",
    address="PACS@10.0.0.9:104",
    breaker="closed",
    failures=0,
    probes=0,
    probe_in_ms=None,
    open_for_ms=None,
    held_for_ms=None,
    associations=2,
    limit=2,
    running=0,
    transfers=0,
    instances=0,
    bytes=0,
    oldest_ms=None,
    bytes_per_s=0.0,
    instances_per_s=0.0,
    eta_s=None,
    last_error="",
    last_delivered_ms=None,
)
EMPTY = History(0, 60_000, 3, {})


@pytest.mark.parametrize(
    ("changes", "words_of", "kind"),
    [
        ({}, "idle", "ok"),
        ({"instances": 3}, "waiting", "wait"),
        ({"running": 2, "instances": 3}, "sending", "busy"),
        ({"failures": 1, "instances": 3}, "failed", "wait"),
        ({"breaker": "open", "open_for_ms": 65_000, "probe_in_ms": 9000}, "does not answer", "bad"),
        ({"breaker": "open", "held_for_ms": 1000}, "held", "wait"),
    ],
)
def test_how_a_destination_stands(changes: dict[str, object], words_of: str, kind: str) -> None:
    """What keeps it back goes before what it does."""
    state = rows.state_of(replace(FLOW, **changes), frozenset())  # type: ignore[arg-type]
    assert (state.words, state.kind) == (words_of, kind)
    if changes.get("probe_in_ms"):
        assert state.more == "for 1 min 5 s, asked again in 9 s"


def test_a_destination_outside_of_its_windows_says_so() -> None:
    """It would send otherwise."""
    assert rows.state_of(replace(FLOW, instances=1), {"pacs"}).words == "outside of its time windows"


def test_destinations_in_trouble_come_first() -> None:
    """Then those with work, then the others; by name among themselves."""
    flows = [
        replace(FLOW, name="b"),
        replace(FLOW, name="a"),
        replace(FLOW, name="d", breaker="open"),
        replace(FLOW, name="c", running=1),
    ]
    assert [row.name for row in rows.destination_rows(flows, EMPTY, frozenset())] == ["d", "c", "a", "b"]


def test_the_words_of_a_peer_are_not_shown() -> None:
    """They may name a patient."""
    flow = replace(
        FLOW, breaker="open", last_error='0110 processing failure; the peer says "DOE^JOHN is dead"'
    )
    row = rows.destination_row(flow, EMPTY, frozenset())
    assert "DOE" not in str(row)
    assert "processing failure" in row.error


def test_an_error_that_is_over_is_not_shown() -> None:
    """A closed breaker without failures has no trouble."""
    assert rows.destination_row(replace(FLOW, last_error="refused"), EMPTY, frozenset()).error == ""


def test_sources_are_of_the_span_and_of_now() -> None:
    """Those with most bytes first; what was submitted here has no AE title."""
    history = History(
        0, 60_000, 2, {"CT_1": (Moved(2, 10), Moved(0, 0)), "": (Moved(9, 9_000_000), Moved(1, 5))}
    )
    found = rows.source_rows(history, {"MR_1": Moved(20, 5_000_000)})
    assert [row.name for row in found] == ["files submitted here", "CT_1", "MR_1"]
    assert (found[2].speed, found[2].rate, found[2].instances) == ("500.0 kB/s", "2.0/s", "0")


def test_a_queue_whose_broker_is_away_still_shows_its_work() -> None:
    """The work is the ledger's."""
    (row,) = rows.queue_rows(["group"], None, {"group": 2}, [WorkWaiting("group", "studies", 1, 61_000)])
    assert (row.messages, row.workers, row.work, row.oldest) == ("–", "2", "1 study", "1 min 1 s")


def test_alike_things_need_attention_together() -> None:
    """By kind, destination and reason; a peer's words do not tell them apart, and are not shown."""

    def of(number: int, says: str) -> Attention:
        reason = f'C000 cannot understand; the peer says "{says}"'
        return Attention(
            AttentionKind.REFUSED,
            f"i{number}",
            "s",
            "1.2",
            f"1.2.{number % 2}",
            5000,
            "pacs",
            "t",
            None,
            reason,
        )

    found = groups(
        [
            of(1, "DOE"),
            of(2, "ROE"),
            of(3, "DOE"),
            Attention(AttentionKind.CONFLICT, "i", "s", "1", "9", 1000),
        ],
        65_000,
    )
    assert [(each.kind, each.instances, each.can_retry) for each in found] == [
        ("conflict", "1 instance", False),
        ("refused", "3 instances", True),
    ]
    assert found[1].studies == (("1.2.1", 2), ("1.2.0", 1))
    assert found[1].since == "1 min"
    assert "DOE" not in str(found)
    assert found[1].more == ""


def test_of_a_kind_that_is_cut_it_is_said_that_there_may_be_more() -> None:
    """Of the others not: each has a limit of its own. And the studies that are not named are to be found."""
    many = [
        Attention(AttentionKind.REFUSED, f"i{n}", "s", "1", f"1.{n % 30}", 0, "pacs", "t")
        for n in range(1000)
    ]
    one = Attention(AttentionKind.UNROUTED, "i", "s", "1", "9", 0)
    found = groups([*many, one], 0)
    assert [each.instances for each in found] == ["1 instance", "1,000 instances or more"]
    assert (found[1].more, found[1].more_at) == (
        "and 10 more studies or more",
        "/studies?state=needs_attention",
    )


@pytest.mark.parametrize("kind", AttentionKind)
def test_of_each_kind_it_is_said_what_to_do(kind: AttentionKind) -> None:
    """By the ledger, where it knows better."""
    row = Attention(kind, "i", "s", "1", "9", 0)
    (plain,) = groups([row], 0)
    assert plain.advice.endswith(".")
    (known,) = groups([replace(row, advice="Let the peer take CT.")], 0)
    assert known.advice == "Let the peer take CT."


def test_what_waits_for_two_destinations_is_two_deliveries() -> None:
    """With bytes, and with instances a second beside bytes a second."""
    flows = [replace(FLOW, instances=5, bytes=1000, bytes_per_s=10.0, instances_per_s=2.0)] * 2
    found = rows.totals(flows, {"CT_1": Moved(50, 1000)})
    assert (found.waiting, found.waiting_bytes) == ("10", "2.0 kB")
    assert (found.sending, found.sending_rate) == ("20 B/s", "4.0/s")
    assert (found.receiving, found.receiving_rate) == ("100 B/s", "5.0/s")


def test_the_top_of_a_small_chart_is_said() -> None:
    """It has no axes."""
    history = History(0, 60_000, 2, {"pacs": (Moved(60, 6_000_000), Moved(1, 5))})
    assert rows.destination_row(replace(FLOW, name="pacs"), history, ()).peak == "at most 100.0 kB/s"
    assert rows.destination_row(replace(FLOW, name="else"), history, ()).peak == ""


def test_a_study_stands_as_the_most_pressing_of_its_deliveries() -> None:
    """Refused before waiting, waiting before held, held before delivered."""

    def stands(**counts: int) -> str:
        return study_rows.standing(replace(whole, destinations=(DestinationSummary("pacs", **counts),))).words

    whole = StudySummary("1.2", 0, 0, 1, 0, 1, 1, 0, 0, 0)
    assert stands(delivered=2, refused=1, pending=4) == "needs attention"
    assert stands(delivered=2, failed=1) == "waiting"
    assert stands(pending=1, held=1) == "under way"
    assert stands(held=1, delivered=1) == "held"
    assert stands(delivered=1) == "delivered"
    assert stands(cancelled=1) == "cancelled"
    assert study_rows.standing(whole).words == "goes nowhere"
    assert (
        study_rows.to_row(DestinationSummary("pacs", delivered=3, refused=1, warnings=2)).notes
        == "1 refused, 2 with warnings"
    )


def test_what_a_verb_did_is_said() -> None:
    """What was changed, what was left and why, and what is in force."""
    from monitor.pages.doing import changed_words, replayed_words  # noqa: PLC0415 - brings Flower with it

    study = Subject(SubjectKind.STUDY, "1.2")
    change = Change("t", "1.2", "pacs", "", TransferState.READY, TransferState.HELD, 40)
    held = changed_words(Changed(Verb.HOLD, study, "", (change,), {TransferState.NEEDS_ATTENTION: 2}))
    assert held.lines == (
        "Study 1.2: 1 transfer with 40 instances to pacs held.",
        "2 transfers left as they are: in need of attention, which do not move by themselves.",
    )
    assert changed_words(Changed(Verb.RETRY, EVERYTHING, "pacs")).lines == (
        "Everything: there was nothing to retry.",
    )
    assert not replayed_words(Replayed("j", ())).went_well
    gone = replayed_words(Replayed("j", ("pacs",), queued=1, bytes=10, gone=("1.2.3",)))
    assert not gone.went_well
    assert gone.lines[0] == "1 instance (10 B) queued to pacs as job j."


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (90_061, "1 d 1 h"),
        (86_405, "1 d"),
    ],
)
def test_a_length_of_time_in_words(seconds: float, text: str) -> None:
    """Its two largest units."""
    assert words.span(seconds) == text


def test_navigation_that_is_not_known_is_an_error() -> None:
    """Rather than pages that nobody finds."""
    with pytest.raises(ValueError, match="navigation has changed"):
        with_our_pages("<nav></nav>")


def test_what_was_said_is_forgotten_in_its_order() -> None:
    """So many are kept, and no more."""
    said = Said()
    first = said.put(Word(("a",)))
    keys = [said.put(Word(("b",))) for _ in range(256)]
    assert said.get(first) is None
    assert said.get(keys[0]) == Word(("b",))
    assert said.get("guessed") is None
