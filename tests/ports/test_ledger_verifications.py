"""Verification after sending, in the ledger: leases, answers, reports that come late, twice or never, on both databases."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import create_engine, text

from dicomrelay.ledger import AttentionKind, ClaimedTransfer, DeliveryState, Ledger, Stage, TransferState
from dicomrelay.ledger.engine import database_url
from dicomrelay.ledger.values_operations import Subject, SubjectKind
from dicomrelay.ledger.values_verification import (
    ClaimedVerification,
    Finding,
    Found,
    KnownTransaction,
    Settled,
    VerificationRules,
    VerificationState,
)
from tests.support.ledger import (
    MINUTE_MS,
    PACS,
    archive_all,
    arrival,
    claim,
    claimed_transfer,
    due_ids,
    outcomes,
)

RULES = VerificationRules(attempts=3, resends=2, again_in_ms=0)
THERE, GONE = Found(Finding.THERE), Found(Finding.GONE, "no such object instance", 0x0112)
DOUBT = Found(Finding.DOUBT, "processing failure", 0x0110)
HOPELESS = Found(Finding.HOPELESS, "class / instance conflict", 0x0119, "Compare the two there.")
A, B = "1.2.3.1", "1.2.3.2"


@pytest.fixture(params=["commitment", "find"])
def method(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def asked(ledger: Ledger, method: str) -> Ledger:
    """A ledger whose destination is verified."""
    ledger.sync_destinations([replace(PACS, verification=method)])
    return ledger


def deliver(ledger: Ledger, claimed: ClaimedTransfer, state: DeliveryState = DeliveryState.DELIVERED) -> None:
    assert ledger.record_outcomes(claimed.id, claimed.fence, outcomes(claimed, state))
    ledger.finish_transfer(claimed.id, claimed.fence, retry_in_ms=None)


def delivered(ledger: Ledger, count: int = 2) -> ClaimedTransfer:
    """A transfer of the instances 1 to `count`, all acknowledged; it is archived, so that only deliveries keep it."""
    claimed = claimed_transfer(ledger, [arrival(number) for number in range(1, count + 1)])
    archive_all(ledger)
    deliver(ledger, claimed)
    return claimed


def make_due(url: str) -> None:
    """As if every wait were over."""
    engine = create_engine(database_url(url))
    with engine.begin() as connection:
        connection.execute(text("UPDATE verifications SET due_at = 1 WHERE due_at IS NOT NULL"))
    engine.dispose()


def take(ledger: Ledger, url: str) -> ClaimedVerification:
    make_due(url)
    (due,) = ledger.verifications.due(limit=10)
    claimed = ledger.verifications.claim(due.id, owner="runner", lease_ms=MINUTE_MS)
    assert claimed is not None
    return claimed


def say(ledger: Ledger, claimed: ClaimedVerification, **found: Found) -> Settled:
    """The answer to a claim, by the way of its method; A and B name the instances."""
    findings = {{"a": A, "b": B}[name]: what for name, what in found.items()}
    if claimed.transaction_uid:
        settled = ledger.verifications.report(claimed.transaction_uid, "PACS", findings, RULES)
    else:
        settled = ledger.verifications.answer(claimed.id, claimed.fence, findings, RULES)
    assert settled is not None
    return settled


def releasable(ledger: Ledger) -> list[str]:
    return ledger.releasable(host="gateway-1", limit=100)


def column(url: str, query: str) -> list[object]:
    engine = create_engine(database_url(url))
    with engine.connect() as connection:
        found = [row[0] if len(row) == 1 else tuple(row) for row in connection.execute(text(query))]
    engine.dispose()
    return found


def marks(url: str) -> list[object]:
    return column(url, "SELECT state, verification FROM deliveries ORDER BY instance_id")


def states(url: str) -> list[object]:
    return column(url, "SELECT state FROM verifications ORDER BY created_at, id")


def test_a_destination_that_is_not_verified_makes_none(ledger: Ledger, ledger_url: str) -> None:
    delivered(ledger)
    make_due(ledger_url)
    assert ledger.verifications.due(limit=10) == ()
    assert releasable(ledger) == ["spool-000001", "spool-000002"]


def test_what_is_delivered_keeps_its_spool_item_until_it_is_verified(asked: Ledger, ledger_url: str) -> None:
    """Invariant: an acknowledged and unverified instance has its spool item."""
    transfer = delivered(asked)
    assert releasable(asked) == []
    assert marks(ledger_url) == [("delivered", "pending")] * 2
    claimed = take(asked, ledger_url)
    assert claimed.transfer_id == transfer.id
    assert [each.sop_instance_uid for each in claimed.references] == [A, B]
    settled = say(asked, claimed, a=THERE, b=THERE)
    assert settled == Settled(VerificationState.VERIFIED, there=2)
    assert marks(ledger_url) == [("delivered", "verified")] * 2
    assert releasable(asked) == ["spool-000001", "spool-000002"]
    make_due(ledger_url)
    assert asked.verifications.due(limit=10) == ()


def test_it_is_not_asked_before_its_time_nor_while_the_transfer_runs(asked: Ledger, ledger_url: str) -> None:
    claimed = claimed_transfer(asked, [arrival(1), arrival(2)])
    asked.record_outcomes(claimed.id, claimed.fence, outcomes(claimed, DeliveryState.DELIVERED)[:1])
    assert asked.verifications.due(limit=10) == ()
    make_due(ledger_url)
    (due,) = asked.verifications.due(limit=10)
    assert asked.verifications.claim(due.id, owner="runner", lease_ms=MINUTE_MS) is None
    assert asked.verifications.due(limit=10) == ()  # put off
    asked.record_outcomes(claimed.id, claimed.fence, outcomes(claimed, DeliveryState.DELIVERED)[1:])
    asked.finish_transfer(claimed.id, claimed.fence, retry_in_ms=None)
    assert len(take(asked, ledger_url).references) == 2
    assert len(states(ledger_url)) == 1


def test_what_is_missing_is_sent_again_and_nothing_else(asked: Ledger, ledger_url: str) -> None:
    """Gap only: the transfer is ready with one instance."""
    transfer = delivered(asked)
    settled = say(asked, take(asked, ledger_url), a=THERE, b=GONE)
    assert settled == Settled(VerificationState.MISSING, there=1, sent_again=1)
    assert marks(ledger_url) == [("delivered", "verified"), ("failed", "")]
    assert due_ids(asked) == [transfer.id]
    again = claim(asked, transfer.id)
    assert [each.instance.sop_instance_uid for each in again.deliveries] == [B]
    assert again.attempt == 1
    assert not again.deliveries[0].suspect
    deliver(asked, again)
    assert releasable(asked) == ["spool-000001"]
    second = take(asked, ledger_url)
    assert [each.sop_instance_uid for each in second.references] == [B]
    say(asked, second, b=THERE)
    assert releasable(asked) == ["spool-000001", "spool-000002"]
    assert states(ledger_url) == ["missing", "verified"]


def test_a_destination_that_loses_it_every_time_needs_attention(asked: Ledger, ledger_url: str) -> None:
    """Sent `resends` times more and then no more, with advice; `retry` begins anew."""
    transfer = delivered(asked, 1)
    for _ in range(RULES.resends):
        assert say(asked, take(asked, ledger_url), a=GONE).sent_again == 1
        deliver(asked, claim(asked, transfer.id))
    settled = say(asked, take(asked, ledger_url), a=GONE)
    assert settled == Settled(VerificationState.NEEDS_ATTENTION, left=1)
    assert due_ids(asked) == []
    assert releasable(asked) == []
    (row,) = asked.needs_attention()
    assert (row.kind, row.sop_instance_uid, row.destination) == (AttentionKind.UNVERIFIED, A, "pacs")
    assert row.reason == "no such object instance"
    assert "jobs retry" in row.advice

    assert asked.verifications.retry(transfer.id) == 1
    assert asked.needs_attention() == []
    deliver(asked, claim(asked, transfer.id))
    assert say(asked, take(asked, ledger_url), a=GONE).sent_again == 1  # its rounds begin anew


def test_answers_that_settle_nothing_are_asked_again_and_then_listed(asked: Ledger, ledger_url: str) -> None:
    transfer = delivered(asked)
    for _ in range(RULES.attempts - 1):
        settled = say(asked, take(asked, ledger_url), a=DOUBT)
        assert settled == Settled(VerificationState.READY, left=2)
    settled = say(asked, take(asked, ledger_url), a=DOUBT)
    assert settled == Settled(VerificationState.NEEDS_ATTENTION, left=2)
    assert {row.kind for row in asked.needs_attention()} == {AttentionKind.UNVERIFIED}
    assert due_ids(asked) == []  # nothing is sent again for that
    assert asked.verifications.retry(transfer.id) == 2
    assert say(asked, take(asked, ledger_url), a=THERE, b=THERE).state is VerificationState.VERIFIED


def test_doubts_in_a_row_are_counted_and_progress_begins_anew(asked: Ledger, ledger_url: str) -> None:
    delivered(asked)
    for _ in range(RULES.attempts - 1):
        say(asked, take(asked, ledger_url))
    assert say(asked, take(asked, ledger_url), a=THERE).state is VerificationState.READY
    assert take(asked, ledger_url).doubts == 0


def test_what_can_never_be_is_listed_and_the_rest_goes_on(asked: Ledger, ledger_url: str) -> None:
    """One conflict does not hold up what is only in doubt."""
    delivered(asked)
    settled = say(asked, take(asked, ledger_url), a=HOPELESS, b=DOUBT)
    assert settled == Settled(VerificationState.NEEDS_ATTENTION, left=2)
    (row,) = asked.needs_attention()
    assert (row.sop_instance_uid, row.advice) == (A, "Compare the two there.")
    rest = take(asked, ledger_url)
    assert [each.sop_instance_uid for each in rest.references] == [B]
    assert say(asked, rest, b=THERE).state is VerificationState.VERIFIED
    assert [row.sop_instance_uid for row in asked.needs_attention()] == [A]


def test_somebody_takes_the_destinations_word(asked: Ledger, ledger_url: str) -> None:
    transfer = delivered(asked)
    say(asked, take(asked, ledger_url), a=HOPELESS, b=HOPELESS)
    assert asked.verifications.take_its_word(transfer.id) == 2
    assert asked.needs_attention() == []
    assert releasable(asked) == ["spool-000001", "spool-000002"]
    assert asked.verifications.take_its_word(transfer.id) == 0
    assert "closed" in column(ledger_url, "SELECT kind FROM evidence")


def test_every_word_about_an_instance_is_evidence(asked: Ledger, ledger_url: str, method: str) -> None:
    delivered(asked)
    claimed = take(asked, ledger_url)
    say(asked, claimed, a=THERE, b=GONE)
    rows = column(
        ledger_url,
        "SELECT kind, body FROM evidence WHERE kind IN ('verified', 'missing') ORDER BY number",
    )
    assert [row[0] for row in rows if isinstance(row, tuple)] == ["verified", "missing"]
    bodies = [str(row[1]) for row in rows if isinstance(row, tuple)]
    assert all(f'"method":"{method}"' in body.replace(" ", "") for body in bodies)
    if method == "commitment":
        assert all(claimed.transaction_uid in body for body in bodies)
    assert "274" in bodies[1]  # 0x0112


def test_one_question_at_a_time_to_a_destination(asked: Ledger, ledger_url: str) -> None:
    delivered(asked, 1)
    deliver(
        asked,
        claimed_transfer(asked, [arrival(9, study_instance_uid="1.2.9", series_instance_uid="1.2.9.1")]),
    )
    first = take(asked, ledger_url)
    engine_due = asked.verifications.due(limit=10)
    assert engine_due == ()
    say(asked, first, a=THERE)
    make_due(ledger_url)
    (second,) = asked.verifications.due(limit=10)
    assert second.id != first.id


def test_a_lease_that_ended_is_taken_over_and_the_old_runner_writes_nothing(
    asked: Ledger, ledger_url: str
) -> None:
    """A crash while it asks."""
    delivered(asked)
    first = take(asked, ledger_url)
    second = take(asked, ledger_url)  # `take` lets every time pass
    assert (second.id, second.fence) == (first.id, first.fence + 1)
    assert not asked.verifications.renew(first.id, first.fence, lease_ms=MINUTE_MS)
    assert not asked.verifications.await_report(first.id, first.fence, within_ms=MINUTE_MS)
    assert asked.verifications.answer(first.id, first.fence, {A: GONE, B: GONE}, RULES) is None
    assert not asked.verifications.hand_back(first.id, first.fence, retry_in_ms=0, reason="x")
    assert asked.verifications.renew(second.id, second.fence, lease_ms=MINUTE_MS)
    assert marks(ledger_url) == [("delivered", "pending")] * 2


def test_a_destination_that_is_not_there_puts_off_the_others_that_are_due_for_it(
    asked: Ledger, ledger_url: str
) -> None:
    delivered(asked, 1)
    deliver(
        asked,
        claimed_transfer(asked, [arrival(9, study_instance_uid="1.2.9", series_instance_uid="1.2.9.1")]),
    )
    claimed = take(asked, ledger_url)
    assert asked.verifications.hand_back(
        claimed.id, claimed.fence, retry_in_ms=MINUTE_MS, reason="no connection to the peer"
    )
    assert asked.verifications.due(limit=10) == ()
    assert asked.needs_attention() == []


def test_what_an_administrator_has_to_mend_is_listed_while_it_waits(asked: Ledger, ledger_url: str) -> None:
    delivered(asked, 1)
    claimed = take(asked, ledger_url)
    asked.verifications.hand_back(
        claimed.id,
        claimed.fence,
        retry_in_ms=MINUTE_MS,
        reason="no storage commitment",
        advice="Enable it there.",
    )
    (row,) = asked.needs_attention()
    assert (row.kind, row.reason, row.advice) == (
        AttentionKind.UNVERIFIED,
        "no storage commitment",
        "Enable it there.",
    )
    (summary,) = asked.verifications.unverified()
    assert (summary.to_ask, summary.awaiting_report, summary.need_attention) == (1, 0, 0)


def test_jobs_retry_asks_again_and_sends_again(asked: Ledger, ledger_url: str) -> None:
    """`jobs retry STUDY`: what is missing is sent, what is unknown is asked about, what waits is due."""
    transfer = delivered(asked)
    study = Subject(SubjectKind.STUDY, "1.2.1")
    say_rules = VerificationRules(attempts=1, resends=0, again_in_ms=0)
    claimed = take(asked, ledger_url)
    findings = {A: GONE, B: DOUBT}
    if claimed.transaction_uid:
        asked.verifications.report(claimed.transaction_uid, "PACS", findings, say_rules)
    else:
        asked.verifications.answer(claimed.id, claimed.fence, findings, say_rules)
    assert marks(ledger_url) == [("delivered", "missing"), ("delivered", "unknown")]
    assert asked.operations.retry(Subject(SubjectKind.STUDY, "9.9")).verifications == 0
    assert asked.operations.retry(study, destination="other").verifications == 0
    assert asked.operations.retry(study).verifications == 2
    assert marks(ledger_url) == [("failed", ""), ("delivered", "pending")]
    assert due_ids(asked) == [transfer.id]
    assert asked.operations.retry(study).verifications == 0
    deliver(asked, claim(asked, transfer.id))

    blocked = take(asked, ledger_url)
    asked.verifications.hand_back(
        blocked.id, blocked.fence, retry_in_ms=MINUTE_MS, reason="no service", advice="Enable it."
    )
    assert asked.verifications.due(limit=1) == ()
    asked.operations.retry(Subject(SubjectKind.ALL))
    assert len(asked.verifications.due(limit=1)) == 1


def test_a_held_transfer_gets_the_gap_and_stays_held(asked: Ledger, ledger_url: str) -> None:
    transfer = delivered(asked, 1)
    engine = create_engine(database_url(ledger_url))
    with engine.begin() as connection:
        connection.execute(text("UPDATE transfers SET state = 'held'"))
    engine.dispose()
    assert say(asked, take(asked, ledger_url), a=GONE).sent_again == 1
    assert due_ids(asked) == []
    assert column(ledger_url, "SELECT state FROM transfers") == [TransferState.HELD.value]
    assert marks(ledger_url) == [("failed", "")]
    assert transfer.id


def test_nothing_of_a_cancelled_transfer_is_sent_again(asked: Ledger, ledger_url: str) -> None:
    delivered(asked, 1)
    engine = create_engine(database_url(ledger_url))
    with engine.begin() as connection:
        connection.execute(text("UPDATE transfers SET state = 'cancelled'"))
    engine.dispose()
    assert say(asked, take(asked, ledger_url), a=GONE).state is VerificationState.NEEDS_ATTENTION
    assert marks(ledger_url) == [("delivered", "missing")]
    assert due_ids(asked) == []


def test_a_destination_that_is_verified_no_more_lets_go(asked: Ledger, ledger_url: str) -> None:
    transfer = delivered(asked)
    asked.sync_destinations([PACS])
    claimed = take(asked, ledger_url)
    assert claimed.method == "none"
    assert asked.verifications.take_its_word(transfer.id) == 2
    assert releasable(asked) == ["spool-000001", "spool-000002"]
    assert states(ledger_url) == ["cancelled"]


class TestReports:
    """Storage commitment alone."""

    @pytest.fixture
    def method(self) -> str:
        return "commitment"

    def test_a_transaction_is_known_before_it_is_on_the_wire(self, asked: Ledger, ledger_url: str) -> None:
        delivered(asked)
        claimed = take(asked, ledger_url)
        assert claimed.transaction_uid.startswith("2.25.")
        assert asked.verifications.known(claimed.transaction_uid) == KnownTransaction("pacs", 0)
        assert asked.verifications.known("2.25.1") is None
        assert asked.verifications.known("") is None

    def test_a_report_that_comes_before_the_worker_has_said_that_it_asked(
        self, asked: Ledger, ledger_url: str
    ) -> None:
        """On a new association, faster than our own release of the old one."""
        delivered(asked)
        claimed = take(asked, ledger_url)
        assert say(asked, claimed, a=THERE, b=THERE).state is VerificationState.VERIFIED
        assert not asked.verifications.await_report(claimed.id, claimed.fence, within_ms=MINUTE_MS)
        assert states(ledger_url) == ["verified"]

    def test_a_report_that_comes_twice_changes_nothing(self, asked: Ledger, ledger_url: str) -> None:
        """Not even where the first made us send again."""
        transfer = delivered(asked)
        claimed = take(asked, ledger_url)
        assert asked.verifications.await_report(claimed.id, claimed.fence, within_ms=MINUTE_MS)
        say(asked, claimed, a=THERE, b=GONE)
        before = marks(ledger_url), column(ledger_url, "SELECT open_deliveries FROM instances ORDER BY id")
        assert say(asked, claimed, a=THERE, b=GONE).there == 0
        assert (
            marks(ledger_url),
            column(ledger_url, "SELECT open_deliveries FROM instances ORDER BY id"),
        ) == before
        deliver(asked, claim(asked, transfer.id))
        assert say(asked, claimed, a=THERE, b=GONE).sent_again == 0  # of B as it was, not as it is
        assert marks(ledger_url) == [("delivered", "verified"), ("delivered", "pending")]

    def test_a_report_that_never_comes_is_asked_for_anew_and_then_listed(
        self, asked: Ledger, ledger_url: str
    ) -> None:
        delivered(asked)
        uids = set()
        for number in range(RULES.attempts):
            claimed = take(asked, ledger_url)
            assert claimed.doubts == number
            uids.add(claimed.transaction_uid)
            assert asked.verifications.await_report(claimed.id, claimed.fence, within_ms=MINUTE_MS)
            assert asked.verifications.due(limit=10) == ()
        assert len(uids) == RULES.attempts  # each in another transaction
        assert states(ledger_url) == ["superseded"] * (RULES.attempts - 1) + ["asked"]

    def test_a_report_that_comes_late_is_believed_where_it_says_committed(
        self, asked: Ledger, ledger_url: str
    ) -> None:
        delivered(asked)
        old = take(asked, ledger_url)
        asked.verifications.await_report(old.id, old.fence, within_ms=MINUTE_MS)
        new = take(asked, ledger_url)
        assert new.id != old.id
        assert say(asked, old, a=THERE, b=GONE) == Settled(VerificationState.SUPERSEDED, there=1, left=1)
        assert marks(ledger_url) == [("delivered", "verified"), ("delivered", "pending")]
        assert say(asked, new, a=THERE, b=THERE).there == 1
        assert states(ledger_url) == ["superseded", "verified"]

    def test_a_late_report_may_be_the_last_that_was_wanted(self, asked: Ledger, ledger_url: str) -> None:
        delivered(asked)
        old = take(asked, ledger_url)
        asked.verifications.await_report(old.id, old.fence, within_ms=MINUTE_MS)
        new = take(asked, ledger_url)
        say(asked, old, a=THERE, b=THERE)
        assert states(ledger_url) == ["superseded", "verified"]
        assert not asked.verifications.await_report(new.id, new.fence, within_ms=MINUTE_MS)

    def test_a_report_that_comes_after_it_was_given_up_is_believed_where_it_says_committed(
        self, asked: Ledger, ledger_url: str
    ) -> None:
        """Of the last transaction and of one before it: what is unknown is verified, and nobody has to look any more."""
        delivered(asked)
        old = take(asked, ledger_url)
        asked.verifications.await_report(old.id, old.fence, within_ms=MINUTE_MS)
        last = take(asked, ledger_url)
        assert asked.verifications.hand_back(
            last.id, last.fence, retry_in_ms=None, reason="no report came in time", advice="Look there."
        )
        assert marks(ledger_url) == [("delivered", "unknown")] * 2
        assert len(asked.needs_attention()) == 2
        assert say(asked, old, a=THERE, b=GONE) == Settled(VerificationState.SUPERSEDED, there=1, left=1)
        assert marks(ledger_url) == [("delivered", "verified"), ("delivered", "unknown")]
        assert [row.sop_instance_uid for row in asked.needs_attention()] == [B]
        assert releasable(asked) == ["spool-000001"]
        assert say(asked, last, a=THERE, b=THERE).there == 1
        assert say(asked, last, a=THERE, b=THERE).there == 0
        assert asked.needs_attention() == []
        assert asked.verifications.unverified() == ()
        assert states(ledger_url) == ["superseded", "verified"]
        assert releasable(asked) == ["spool-000001", "spool-000002"]

    def test_a_late_report_does_not_find_what_a_newer_answer_missed(
        self, asked: Ledger, ledger_url: str
    ) -> None:
        """Missing is the newer word."""
        delivered(asked, 1)
        old = take(asked, ledger_url)
        asked.verifications.await_report(old.id, old.fence, within_ms=MINUTE_MS)
        new = take(asked, ledger_url)
        never = VerificationRules(attempts=1, resends=0, again_in_ms=0)
        asked.verifications.report(new.transaction_uid, "PACS", {A: GONE}, never)
        assert marks(ledger_url) == [("delivered", "missing")]
        assert say(asked, old, a=THERE).there == 0
        assert marks(ledger_url) == [("delivered", "missing")]
        assert len(asked.needs_attention()) == 1

    def test_a_report_of_another_or_by_another_is_not_taken(self, asked: Ledger, ledger_url: str) -> None:
        delivered(asked)
        claimed = take(asked, ledger_url)
        findings = {A: THERE, B: THERE}
        assert asked.verifications.report("2.25.1", "PACS", findings, RULES) is None
        assert asked.verifications.report("", "PACS", findings, RULES) is None
        assert asked.verifications.report(claimed.transaction_uid, "MALLORY", findings, RULES) is None
        assert marks(ledger_url) == [("delivered", "pending")] * 2

    def test_uids_that_nobody_asked_about_are_passed_over(self, asked: Ledger, ledger_url: str) -> None:
        delivered(asked)
        claimed = take(asked, ledger_url)
        settled = asked.verifications.report(
            claimed.transaction_uid, "PACS", {A: THERE, B: THERE, "9.9": GONE}, RULES
        )
        assert settled == Settled(VerificationState.VERIFIED, there=2)


def test_stages_and_verification_both_keep_the_spool_item(asked: Ledger, ledger_url: str) -> None:
    """Verified, and not archived yet: it stays."""
    claimed = claimed_transfer(asked, [arrival(1)])
    deliver(asked, claimed)
    say(asked, take(asked, ledger_url), a=THERE)
    assert releasable(asked) == []
    archive_all(asked)
    assert releasable(asked) == ["spool-000001"]
    assert asked.claim_instances(Stage.FRAMES, host="h", owner="o", limit=1, lease_ms=MINUTE_MS) is not None
