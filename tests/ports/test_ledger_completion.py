"""When a study is complete: quiet time by source, associations that ended, counts; and what goes before it is."""

from __future__ import annotations

import pytest
from sqlalchemy import create_engine, text

from dicomrelay.ledger import DestinationInfo, Ledger, Priority
from dicomrelay.ledger.completion import CompletionPolicy, Made, ToAsk
from dicomrelay.ledger.engine import database_url
from dicomrelay.ledger.values import DeliveryState
from dicomrelay.ledger.waits import MOST_SENDERS
from tests.support.ledger import arrival, claim, due_ids, outcomes

HOUR_MS = 3_600_000
# Nothing is complete by being quiet, all is by an association that ended just now.
HINTS = CompletionPolicy(HOUR_MS, 0, 200, 10**9)
NEVER = CompletionPolicy(HOUR_MS, HOUR_MS, 200, 10**9)


def complete(ledger: Ledger, policy: CompletionPolicy = HINTS) -> int:
    """How many transfers come of the studies that are complete; a look agrees with what is done."""
    is_any = ledger.completion.any_complete(policy)
    made = ledger.completion.complete(policy, limit=100)
    assert is_any or made == Made()
    return made.transfers


def let_pass(url: str, ms: int) -> None:
    """Set the clock of the studies back: they have waited for so much longer."""
    engine = create_engine(database_url(url))
    with engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE studies SET ungrouped_at = ungrouped_at - :ms, association_ended_at = association_ended_at - :ms, "
                "ask_at = ask_at - :ms"
            ),
            {"ms": ms},
        )
    engine.dispose()


def columns(url: str) -> tuple[object, ...]:
    """What the one study waits for."""
    engine = create_engine(database_url(url))
    query = "SELECT ungrouped_at, quiet_ms, senders, association_ended_at, expected_instances, count_at, ask_at FROM studies"
    with engine.connect() as connection:
        row = tuple(connection.execute(text(query)).one())
    engine.dispose()
    return row


# Quiet time


def test_a_source_has_a_quiet_time_of_its_own(ledger: Ledger, ledger_url: str) -> None:
    """Shorter than that of all, or longer."""
    minute_ms = 60_000  # a busy machine may take seconds between two lines
    ledger.register(
        [arrival(1, quiet_ms=minute_ms), arrival(2, study_instance_uid="1.2.2", quiet_ms=2 * HOUR_MS)]
    )
    assert complete(ledger, NEVER) == 0
    let_pass(ledger_url, minute_ms)
    assert complete(ledger, NEVER) == 1
    let_pass(ledger_url, HOUR_MS)
    assert complete(ledger, NEVER) == 0
    let_pass(ledger_url, HOUR_MS)
    assert complete(ledger, NEVER) == 1


def test_the_source_that_sent_last_counts(ledger: Ledger, ledger_url: str) -> None:
    """A workstation adds to what a modality sent."""
    ledger.register([arrival(1, quiet_ms=1000)])
    ledger.register([arrival(2, quiet_ms=None)])
    let_pass(ledger_url, 1000)
    assert complete(ledger, NEVER) == 0
    ledger.register([arrival(3, quiet_ms=1000)])
    let_pass(ledger_url, 1000)
    assert complete(ledger, NEVER) == 1


# The end of an association


def test_a_study_is_complete_when_its_association_has_ended(ledger: Ledger) -> None:
    """Without the quiet time."""
    ledger.register([arrival(1), arrival(2)])
    assert complete(ledger) == 0
    assert ledger.completion.association_ended(["a1"]) == 1
    assert complete(ledger) == 1


def test_the_end_of_another_association_says_nothing(ledger: Ledger) -> None:
    """Only of what it brought."""
    ledger.register([arrival(1)])
    assert ledger.completion.association_ended(["a2"]) == 0
    assert complete(ledger) == 0


def test_a_study_waits_while_another_association_still_sends(ledger: Ledger) -> None:
    """The last one to end is the one that counts."""
    ledger.register([arrival(1, association_id="a1"), arrival(2, association_id="a2")])
    ledger.completion.association_ended(["a1"])
    assert complete(ledger) == 0
    ledger.completion.association_ended(["a2"])
    assert complete(ledger) == 1


def test_the_time_after_an_association_counts_from_its_end(ledger: Ledger, ledger_url: str) -> None:
    """The next association of the same study may follow: one series an association is usual."""
    policy = CompletionPolicy(HOUR_MS, 1000, 200, 10**9)
    ledger.register([arrival(1)])
    let_pass(ledger_url, 5000)
    ledger.completion.association_ended(["a1"])
    assert complete(ledger, policy) == 0
    ledger.register([arrival(2, association_id="a2")])
    let_pass(ledger_url, 1000)
    assert complete(ledger, policy) == 0
    ledger.completion.association_ended(["a2"])
    let_pass(ledger_url, 1000)
    assert complete(ledger, policy) == 1


def test_a_message_may_overtake_the_registration(ledger: Ledger) -> None:
    """The gateway is quick, and what it took lies in the spool for a moment."""
    ledger.completion.association_ended(["a1"])
    ledger.register([arrival(1)])
    assert complete(ledger) == 1


def test_a_message_may_come_in_the_middle_of_the_registration(ledger: Ledger) -> None:
    """Some is registered before it and some after."""
    ledger.register([arrival(1)])
    ledger.completion.association_ended(["a1"])
    ledger.register([arrival(2)])
    assert complete(ledger) == 1


def test_an_end_is_remembered_for_ten_minutes(ledger: Ledger, ledger_url: str) -> None:
    """Then it is forgotten, with the next message."""
    ledger.completion.association_ended(["a1"])
    engine = create_engine(database_url(ledger_url))
    with engine.begin() as connection:
        connection.execute(text("UPDATE ended_associations SET at = at - 600001"))
    ledger.completion.association_ended(["a2"])
    with engine.connect() as connection:
        assert list(connection.execute(text("SELECT id FROM ended_associations")).scalars()) == ["a2"]
    engine.dispose()


def test_a_message_that_is_lost_leaves_the_quiet_time(ledger: Ledger, ledger_url: str) -> None:
    """The broker may be down."""
    ledger.register([arrival(1)])
    let_pass(ledger_url, HOUR_MS)
    assert complete(ledger) == 1


@pytest.mark.parametrize("sender", ["", "other"])
def test_what_came_otherwise_never_ends(ledger: Ledger, sender: str) -> None:
    """A job has no association; and nobody says of an association in a rebuilt spool that it ended."""
    ledger.register([arrival(1), arrival(2, association_id=sender)])
    ledger.completion.association_ended(["a1"])
    assert complete(ledger) == 0


def test_senders_are_bounded(ledger: Ledger, ledger_url: str) -> None:
    """With one association an instance, as some modalities have it, only the quiet time is left; no list grows."""
    many = [f"a{number}" for number in range(MOST_SENDERS + 1)]
    ledger.register([arrival(number, association_id=each) for number, each in enumerate(many)])
    ledger.completion.association_ended(many)
    assert complete(ledger) == 0
    assert columns(ledger_url)[2] == "-"


def test_the_end_is_said_twice(ledger: Ledger) -> None:
    """By a message that came twice; nothing more comes of it."""
    ledger.register([arrival(1)])
    ledger.completion.association_ended(["a1", "a1"])
    ledger.completion.association_ended(["a1"])
    assert complete(ledger) == 1
    assert complete(ledger) == 0


def test_a_duplicate_is_no_sender(ledger: Ledger) -> None:
    """What leaves nothing to deliver holds nothing back."""
    ledger.register([arrival(1)])
    ledger.register([arrival(1, spool_id="again", association_id="a2")])
    ledger.completion.association_ended(["a1"])
    assert complete(ledger) == 1


# Counts


def test_a_study_is_complete_when_as_many_are_there_as_its_source_has(ledger: Ledger) -> None:
    """At once."""
    ledger.register([arrival(1, count_at="CT@10.0.0.1:104")])
    ledger.completion.expect("1.2.1", 3)
    assert complete(ledger, NEVER) == 0
    ledger.register([arrival(2), arrival(2, digest="f" * 64, spool_id="other bytes")])
    assert complete(ledger, NEVER) == 0, "an instance that was set aside is not one more"
    ledger.register([arrival(3)])
    assert complete(ledger, NEVER) == 1


def test_a_hint_does_not_count_against_a_number(ledger: Ledger, ledger_url: str) -> None:
    """More is known to come; the quiet time is the end of patience."""
    ledger.register([arrival(1)])
    ledger.completion.expect("1.2.1", 2)
    ledger.completion.association_ended(["a1"])
    assert complete(ledger) == 0
    let_pass(ledger_url, HOUR_MS)
    assert complete(ledger) == 1


def test_whom_to_ask_and_when(ledger: Ledger, ledger_url: str) -> None:
    """Ten seconds after the first instance, then again after the time that the asker says; only while it waits."""
    asked = ToAsk("1.2.1", "CT@10.0.0.1:104")
    ledger.register([arrival(1, count_at=asked.count_at), arrival(2, study_instance_uid="1.2.2")])
    assert ledger.completion.to_ask(limit=10, again_in_ms=30_000) == []
    let_pass(ledger_url, 10_000)
    ledger.register([arrival(3, count_at=asked.count_at)])
    assert ledger.completion.to_ask(limit=10, again_in_ms=30_000) == [asked]
    assert ledger.completion.to_ask(limit=10, again_in_ms=30_000) == []
    let_pass(ledger_url, 30_000)
    assert ledger.completion.to_ask(limit=10, again_in_ms=30_000) == [asked]
    let_pass(ledger_url, HOUR_MS)
    complete(ledger)
    assert ledger.completion.to_ask(limit=10, again_in_ms=30_000) == []


def test_a_number_for_a_study_that_does_not_wait_is_dropped(ledger: Ledger) -> None:
    """It was complete before the answer came: the delta must not wait for so many."""
    ledger.register([arrival(1)])
    ledger.completion.association_ended(["a1"])
    complete(ledger)
    ledger.completion.expect("1.2.1", 500)
    ledger.register([arrival(2)])
    assert complete(ledger) == 1


# As it arrives


def test_full_batches_go_before_the_study_is_complete(ledger: Ledger) -> None:
    """The rest waits, and goes with it."""
    ledger.register([arrival(number) for number in range(130)])
    made = ledger.completion.cut(NEVER, ["1.2.1"])
    assert made.transfers == 2
    assert sorted(each.id for each in made.wake) == sorted(due_ids(ledger))
    assert [len(claim(ledger, each).deliveries) for each in due_ids(ledger)] == [65, 65]
    ledger.register([arrival(number) for number in range(130, 140)])
    assert ledger.completion.cut(NEVER, ["1.2.1"]) == Made()
    ledger.completion.association_ended(["a1"])
    assert complete(ledger) == 1


def test_a_few_instances_wait_for_the_study(ledger: Ledger) -> None:
    """An association for each would cost more than it brings."""
    ledger.register([arrival(number) for number in range(49)])
    assert ledger.completion.cut(NEVER, ["1.2.1"]) == Made()


def test_a_destination_that_is_behind_gets_large_transfers(ledger: Ledger) -> None:
    """Four are open for two associations: what comes waits for a full batch."""
    ledger.register([arrival(number) for number in range(100)])
    assert ledger.completion.cut(NEVER, ["1.2.1"]).transfers == 2
    ledger.register([arrival(number) for number in range(100, 200)])
    assert ledger.completion.cut(NEVER, ["1.2.1"]).transfers == 2
    ledger.register([arrival(number) for number in range(200, 399)])
    assert ledger.completion.cut(NEVER, ["1.2.1"]) == Made()
    ledger.register([arrival(399)])
    made = ledger.completion.cut(NEVER, ["1.2.1"])
    assert (made.transfers, made.wake) == (2, ()), "nobody is woken who has no place"


def test_an_urgent_study_does_not_see_the_backlog_of_others(ledger: Ledger) -> None:
    """It passes them, so its transfers are made as if they were not there."""
    ledger.register([arrival(number, priority=Priority.BULK) for number in range(500)])
    complete(ledger, CompletionPolicy(0, 0, 100, 10**9))
    ledger.register(
        [arrival(number, priority=Priority.URGENT, study_instance_uid="1.2.2") for number in range(500, 550)]
    )
    assert ledger.completion.cut(NEVER, ["1.2.2"]).transfers == 1


def test_a_study_may_use_all_associations_of_its_destination(ledger: Ledger) -> None:
    """600 slices for eight associations are eight transfers."""
    ledger.sync_destinations([DestinationInfo("pacs", "PACS", "h", 104, associations=8)])
    ledger.register([arrival(number) for number in range(600)])
    assert complete(ledger, CompletionPolicy(0, 0, 200, 10**9)) == 8


def test_only_the_studies_that_are_named_are_cut(ledger: Ledger) -> None:
    """The group worker names those that something has come for."""
    ledger.register([arrival(number) for number in range(60)])
    assert ledger.completion.cut(NEVER, ["1.2.2"]) == Made()


# Afterwards


def test_late_instances_travel_alone(ledger: Ledger, ledger_url: str) -> None:
    """The delta: what comes after a study was complete has a quiet time, senders and an end of its own."""
    ledger.register([arrival(1, quiet_ms=7, count_at="CT@h:1"), arrival(2)])
    ledger.completion.association_ended(["a1"])
    assert complete(ledger) == 1
    assert columns(ledger_url) == (None, None, "", None, None, "", None)
    (first,) = due_ids(ledger)
    ledger.register([arrival(3, association_id="a3")])
    assert complete(ledger) == 0
    ledger.completion.association_ended(["a3"])
    assert complete(ledger) == 1
    (late,) = (each for each in due_ids(ledger) if each != first)
    sent = [each.instance.sop_instance_uid for each in claim(ledger, late).deliveries]
    assert sent == ["1.2.3.3"]


def test_an_instance_that_comes_late_over_an_association_that_ended(ledger: Ledger) -> None:
    """It was in the spool when the study was found complete; nobody has to wait for it either."""
    ledger.register([arrival(1)])
    ledger.completion.association_ended(["a1"])
    assert complete(ledger) == 1
    ledger.register([arrival(2)])
    assert complete(ledger) == 1


# What came while its destination had enough before it


def test_what_came_while_its_destination_was_busy_is_worth_a_cut_once_it_is_not(
    ledger: Ledger, ledger_url: str
) -> None:
    """Nothing else comes to have it cut; a study that is not quiet yet is cut by who registers what comes."""
    ledger.sync_destinations([DestinationInfo("pacs", "PACS", "h", 104, associations=1)])
    policy = CompletionPolicy(HOUR_MS, HOUR_MS, 100, 10**9)
    ledger.register([arrival(number) for number in range(200)])
    busy = ledger.completion.cut(policy, ["1.2.1"]).wake
    assert len(busy) == 2
    ledger.register([arrival(number) for number in range(200, 260)])

    def worth(older_than_ms: int = 0) -> list[str]:
        return ledger.completion.worth_a_cut(policy, older_than_ms=older_than_ms, limit=10)

    let_pass(ledger_url, 1000)
    assert worth() == []
    claimed = claim(ledger, busy[0].id)
    ledger.record_outcomes(claimed.id, claimed.fence, outcomes(claimed, DeliveryState.DELIVERED))
    ledger.finish_transfer(claimed.id, claimed.fence, retry_in_ms=None)
    assert worth(older_than_ms=1_000_000) == []
    assert worth() == ["1.2.1"]
    assert ledger.completion.cut(policy, worth()).transfers == 1
    assert worth() == []
