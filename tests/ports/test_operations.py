"""Every verb on every state of a transfer, and what it leaves of deliveries, bytes and evidence; on both databases."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import create_engine, text

from dicomrelay.cli.submission import is_stalled, results
from dicomrelay.cli.summary import Outcome
from dicomrelay.ledger import ClaimedTransfer, DeliveryState, Ledger, TransferState
from dicomrelay.ledger.engine import database_url
from dicomrelay.ledger.values_operations import (
    EVERYTHING,
    Changed,
    OrderKind,
    ReplayOrder,
    Subject,
    SubjectKind,
    Verb,
)
from tests.support.ledger import MINUTE_MS, archive_all, arrival, claim, due_ids, group, outcomes

STUDY = Subject(SubjectKind.STUDY, "1.2.1")
S, D = TransferState, DeliveryState

# The table of docs/design/operations.md; what is not in it stays as it is.
MOVES = {
    Verb.RETRY: {S.WAITING: S.READY, S.NEEDS_ATTENTION: S.READY},
    Verb.HOLD: {S.READY: S.HELD, S.RUNNING: S.HELD, S.WAITING: S.HELD},
    Verb.RELEASE: {S.HELD: S.READY},
    Verb.CANCEL: {
        S.READY: S.CANCELLED,
        S.RUNNING: S.CANCELLED,
        S.WAITING: S.CANCELLED,
        S.NEEDS_ATTENTION: S.CANCELLED,
        S.HELD: S.CANCELLED,
    },
}


@pytest.fixture
def query(ledger_url: str) -> Iterator[Callable[[str], list[tuple[object, ...]]]]:
    """Rows, beside the ledger."""
    engine = create_engine(database_url(ledger_url))

    def rows(statement: str) -> list[tuple[object, ...]]:
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(statement))]

    yield rows
    engine.dispose()


def _transfer_in(ledger: Ledger, state: TransferState) -> tuple[str, ClaimedTransfer | None]:
    """A transfer of three instances in a state, of which one was delivered where it ever ran."""
    ledger.register([arrival(number) for number in range(3)])
    assert group(ledger) == 1
    (transfer_id,) = due_ids(ledger)
    transfer = Subject(SubjectKind.TRANSFER, transfer_id)
    if state is S.READY:
        return transfer_id, None
    if state is S.HELD:
        ledger.operations.hold(transfer)
        return transfer_id, None
    if state is S.CANCELLED:
        ledger.operations.cancel(transfer)
        return transfer_id, None
    claimed = claim(ledger, transfer_id)
    if state is S.DONE:
        ledger.record_outcomes(transfer_id, claimed.fence, outcomes(claimed, D.DELIVERED))
        assert ledger.finish_transfer(transfer_id, claimed.fence, retry_in_ms=None) is S.DONE
        return transfer_id, claimed
    ledger.record_outcomes(transfer_id, claimed.fence, outcomes(claimed, D.DELIVERED, D.FAILED, D.REFUSED))
    if state is S.WAITING:
        ledger.finish_transfer(transfer_id, claimed.fence, retry_in_ms=MINUTE_MS, reason="it was busy")
    elif state is S.NEEDS_ATTENTION:
        ledger.finish_transfer(transfer_id, claimed.fence, retry_in_ms=None, reason="it was busy")
    return transfer_id, claimed


def _do(ledger: Ledger, verb: Verb, subject: Subject, destination: str = "") -> Changed:
    method = getattr(ledger.operations, verb.value)
    changed: Changed = method(subject, destination=destination)
    return changed


def _state(ledger: Ledger, transfer_id: str) -> TransferState:
    (row,) = ledger.operations.transfers(Subject(SubjectKind.TRANSFER, transfer_id), limit=10)
    return row.state


@pytest.mark.parametrize("kind", [SubjectKind.TRANSFER, SubjectKind.STUDY, SubjectKind.ALL])
@pytest.mark.parametrize("state", list(TransferState))
@pytest.mark.parametrize("verb", list(Verb))
def test_every_verb_on_every_state(
    ledger: Ledger, query: Callable[..., list[tuple[object, ...]]], verb: Verb, state: S, kind: SubjectKind
) -> None:
    """What the table says and nothing else; and once more it changes nothing."""
    transfer_id, _ = _transfer_in(ledger, state)
    subject = {
        SubjectKind.TRANSFER: Subject(SubjectKind.TRANSFER, transfer_id),
        SubjectKind.STUDY: STUDY,
        SubjectKind.ALL: EVERYTHING,
    }[kind]
    after = MOVES[verb].get(state, state)

    first = _do(ledger, verb, subject)
    again = _do(ledger, verb, subject)

    assert [(c.transfer_id, c.before, c.after) for c in first.changes] == (
        [(transfer_id, state, after)] if after is not state else []
    )
    assert again.changes == ()
    assert _state(ledger, transfer_id) is after
    if kind is not SubjectKind.ALL:
        assert again.unchanged == {after: 1}
    no_work = "done", "needs_attention", "held", "cancelled"
    assert query(f"SELECT id FROM transfers WHERE (due_at IS NULL) <> (state IN {no_work})") == []
    _counts_are_true(query)


@pytest.mark.parametrize("state", [s for s in TransferState if s is not TransferState.DONE])
def test_cancel_ends_what_is_not_delivered_and_leaves_what_is(
    ledger: Ledger, query: Callable[..., list[tuple[object, ...]]], state: S
) -> None:
    """Only a response of the peer makes an instance delivered, and nothing takes that back."""
    transfer_id, claimed = _transfer_in(ledger, state)

    _do(ledger, Verb.CANCEL, STUDY)

    ran = claimed is not None
    states = sorted(str(row[0]) for row in query("SELECT state FROM deliveries"))
    assert states == (["cancelled", "cancelled", "delivered"] if ran else ["cancelled"] * 3)
    assert due_ids(ledger) == []
    assert ledger.claim_transfer(transfer_id, owner="r", lease_ms=1) is None
    facts = query("SELECT count(*) FROM evidence WHERE kind = 'cancelled'")
    assert facts == [(2 if ran else 3,)]


def test_retry_makes_refused_instances_pending_and_counts_attempts_anew(
    ledger: Ledger, query: Callable[..., list[tuple[object, ...]]]
) -> None:
    """Somebody has mended what was wrong, and says so."""
    transfer_id, _ = _transfer_in(ledger, S.NEEDS_ATTENTION)

    _do(ledger, Verb.RETRY, STUDY)
    claimed = claim(ledger, transfer_id)

    assert claimed.attempt == 1
    assert len(claimed.deliveries) == 2
    assert query("SELECT reason, advice, finished_at FROM transfers") == [("", "", None)]


@pytest.mark.parametrize("verb", [Verb.HOLD, Verb.CANCEL])
def test_a_runner_is_stopped_and_what_the_peer_acknowledged_meanwhile_counts(
    ledger: Ledger, query: Callable[..., list[tuple[object, ...]]], verb: Verb
) -> None:
    """Its fence is old, so it is told to stop; the acknowledged instance is not sent again, nor called cancelled."""
    ledger.register([arrival(number) for number in range(4)])
    group(ledger)
    claimed = claim(ledger, due_ids(ledger)[0])
    late = outcomes(claimed, D.DELIVERED, D.WARNING, D.FAILED, D.REFUSED)

    _do(ledger, verb, STUDY)

    assert ledger.renew_transfer(claimed.id, claimed.fence, lease_ms=1) is False
    assert ledger.record_outcomes(claimed.id, claimed.fence, late) is False
    assert ledger.record_outcomes(claimed.id, claimed.fence, late) is False
    stopped = S.HELD if verb is Verb.HOLD else S.CANCELLED
    assert ledger.finish_transfer(claimed.id, claimed.fence, retry_in_ms=0) is stopped
    left = "pending" if verb is Verb.HOLD else "cancelled"
    states = sorted(str(row[0]) for row in query("SELECT state FROM deliveries"))
    assert states == sorted(["delivered", "warning", left, left])
    _counts_are_true(query)
    if verb is Verb.HOLD:
        _do(ledger, Verb.RELEASE, STUDY)
        again = claim(ledger, claimed.id)
        assert len(again.deliveries) == 2
        assert again.attempt == claimed.attempt
        assert ledger.record_outcomes(claimed.id, claimed.fence, late[2:]) is False


def test_a_late_answer_does_not_count_where_another_runner_is_at_it(
    ledger: Ledger, query: Callable[..., list[tuple[object, ...]]]
) -> None:
    """Held, released and claimed again: the old runner writes nothing."""
    ledger.register([arrival(1)])
    group(ledger)
    claimed = claim(ledger, due_ids(ledger)[0])
    _do(ledger, Verb.HOLD, STUDY)
    _do(ledger, Verb.RELEASE, STUDY)
    claim(ledger, claimed.id)

    assert not ledger.record_outcomes(claimed.id, claimed.fence, outcomes(claimed, D.DELIVERED))
    assert query("SELECT state FROM deliveries") == [("pending",)]


def _two_destinations(ledger: Ledger, number: int = 1, **changes: object) -> None:
    ledger.register([arrival(number, destinations=("pacs", "second"), **changes)])


@pytest.mark.parametrize("verb", [Verb.HOLD, Verb.CANCEL])
def test_what_joins_a_study_later_obeys_its_order(ledger: Ledger, verb: Verb) -> None:
    """Instances that came before they were made a transfer of, and instances that come the next day."""
    stopped = S.HELD if verb is Verb.HOLD else S.CANCELLED
    _two_destinations(ledger, 1)
    changed = _do(ledger, verb, STUDY, "pacs")
    if verb is Verb.HOLD:
        assert (changed.changes, changed.ungrouped) == ((), 1)
    _two_destinations(ledger, 2)
    group(ledger)
    ledger.operations.end_cancelled()
    rows = ledger.operations.transfers(STUDY, limit=10)

    assert {row.state for row in rows if row.destination == "pacs"} == {stopped}
    assert {row.state for row in rows if row.destination == "second"} == {S.READY}
    _do(ledger, Verb.RELEASE, STUDY)
    _two_destinations(ledger, 3)
    group(ledger)
    assert ledger.operations.end_cancelled() == 0
    newest = ledger.operations.transfers(STUDY, limit=10)
    assert {row.state for row in newest if row.id not in {r.id for r in rows}} == {S.READY}


def test_looking_for_what_a_cancel_holds_waits_for_nobody_else(ledger: Ledger, ledger_url: str) -> None:
    """Each sweep looks: what a person holds is not locked for that, though some study was cancelled once."""
    for number, verb in ((1, Verb.CANCEL), (2, Verb.HOLD)):
        ledger.register([arrival(number, study_instance_uid=f"1.2.{number}")])
        group(ledger)
        _do(ledger, verb, Subject(SubjectKind.STUDY, f"1.2.{number}"))
    engine = create_engine(database_url(ledger_url))
    with engine.connect() as somebody, ThreadPoolExecutor(1) as pool:
        somebody.execute(text("UPDATE transfers SET reason = reason"))
        try:
            assert pool.submit(ledger.operations.end_cancelled).result(timeout=10) == 0
        finally:
            somebody.rollback()
    engine.dispose()


def test_a_job_that_is_held_holds_what_is_registered_of_it_later_and_no_other(ledger: Ledger) -> None:
    """A folder is still being submitted when somebody stops it."""
    ledger.create_job("job-1", kind="send", expected=2)
    job = ledger.operations.find("job-1")
    assert job == Subject(SubjectKind.JOB, "job-1")
    _do(ledger, Verb.HOLD, job)

    ledger.register([arrival(1, job_id="job-1"), arrival(2, job_id="job-1"), arrival(3)])
    group(ledger)

    rows = ledger.operations.transfers(STUDY, limit=10)
    assert {(row.job_id, row.state) for row in rows} == {("job-1", S.HELD), ("", S.READY)}
    assert ledger.operations.job(job).orders[0].kind is OrderKind.HOLD


def test_a_job_is_asked_for_after_its_study_was_cancelled_and_goes_out(ledger: Ledger) -> None:
    """The cancel of a study is for what rules decide; who submits it afterwards means it."""
    ledger.register([arrival(1)])
    _do(ledger, Verb.CANCEL, STUDY)
    ledger.create_job("job-1", kind="send", expected=1)
    ledger.register([arrival(1, spool_id="again", job_id="job-1")])
    group(ledger)
    ledger.operations.end_cancelled()

    rows = ledger.operations.transfers(STUDY, limit=10)
    assert {(row.job_id, row.state) for row in rows} == {("job-1", S.READY), ("", S.CANCELLED)}


def test_who_waits_for_a_job_that_is_held_or_cancelled_stops_waiting(ledger: Ledger) -> None:
    """`send` ends: what is held goes on when somebody releases it, what was cancelled has not arrived."""
    ledger.create_job("job-1", kind="send", expected=2)
    ledger.register([arrival(number, job_id="job-1") for number in range(2)])
    group(ledger)
    job = Subject(SubjectKind.JOB, "job-1")
    _do(ledger, Verb.HOLD, job)

    held = ledger.job_progress("job-1", with_instances=True)

    assert (held.open, held.held, held.finished, is_stalled(held)) == (2, 2, False, True)
    assert {result.state for result in results(held)} == {"held"}
    _do(ledger, Verb.CANCEL, job)
    cancelled = ledger.job_progress("job-1", with_instances=True)
    assert (cancelled.open, cancelled.failed, cancelled.finished) == (0, 2, True)
    assert {(result.state, result.outcome) for result in results(cancelled)} == {
        ("cancelled", Outcome.FAILED)
    }


def test_release_does_not_undo_the_hold_of_somebody_else(ledger: Ledger) -> None:
    """A transfer that its job holds stays when its study is released, and the answer names the job."""
    ledger.create_job("job-1", kind="send", expected=1)
    ledger.register([arrival(1, job_id="job-1")])
    group(ledger)
    job = Subject(SubjectKind.JOB, "job-1")
    _do(ledger, Verb.HOLD, job)
    _do(ledger, Verb.HOLD, STUDY)

    changed = _do(ledger, Verb.RELEASE, STUDY)

    assert (changed.changes, changed.held_by, changed.unchanged) == ((), ("job-1",), {S.HELD: 1})
    assert [c.after for c in _do(ledger, Verb.RELEASE, job).changes] == [S.READY]


def test_a_release_says_which_orders_it_took_away(ledger: Ledger) -> None:
    """Also where nothing is held at the moment."""
    ledger.register([arrival(1)])
    _do(ledger, Verb.HOLD, STUDY)

    assert [order.kind for order in _do(ledger, Verb.RELEASE, STUDY).lifted] == [OrderKind.HOLD]
    assert _do(ledger, Verb.RELEASE, STUDY).lifted == ()


def test_reasons_are_counted_by_what_was_answered(ledger: Ledger) -> None:
    """What was refused first, then what failed; of a study, of one transfer, and of none."""
    transfer_id, _ = _transfer_in(ledger, S.NEEDS_ATTENTION)

    for subject in (STUDY, Subject(SubjectKind.TRANSFER, transfer_id)):
        found = ledger.operations.reasons(subject)
        assert [(row.state, row.status, row.instances) for row in found] == [
            (D.REFUSED, 0xC000, 1),
            (D.FAILED, 0xA700, 1),
        ]
    assert ledger.operations.reasons(Subject(SubjectKind.STUDY, "9.9")) == ()


def test_what_is_held_and_which_destinations_are_stopped_is_known(ledger: Ledger) -> None:
    """For status: a hold of a study, a hold of a destination."""
    _transfer_in(ledger, S.HELD)
    assert (ledger.operations.held(), ledger.operations.stopped()) == (1, ())

    ledger.flow.hold("pacs")

    (row,) = ledger.operations.stopped()
    assert (row.name, row.breaker, row.held_for_ms is not None) == ("pacs", "closed", True)


def test_one_destination_may_go_while_the_others_are_held(ledger: Ledger) -> None:
    """And a hold of all of them again takes that back."""
    _two_destinations(ledger)
    group(ledger)
    _do(ledger, Verb.HOLD, STUDY)
    released = _do(ledger, Verb.RELEASE, STUDY, "second")
    _two_destinations(ledger, 2)
    group(ledger)

    states = {(row.destination, row.state) for row in ledger.operations.transfers(STUDY, limit=10)}
    assert states == {("pacs", S.HELD), ("second", S.READY)}
    assert [(o.destination, o.kind) for o in released.orders] == [
        ("", OrderKind.HOLD),
        ("second", OrderKind.GO),
    ]
    held = _do(ledger, Verb.HOLD, STUDY)
    assert [(o.destination, o.kind) for o in held.orders] == [("", OrderKind.HOLD)]


def test_a_hold_does_not_weaken_a_cancel(ledger: Ledger) -> None:
    """What comes later is cancelled still."""
    ledger.register([arrival(1)])
    _do(ledger, Verb.CANCEL, STUDY)

    assert [o.kind for o in _do(ledger, Verb.HOLD, STUDY).orders] == [OrderKind.CANCEL]
    assert [o.kind for o in _do(ledger, Verb.HOLD, STUDY, "pacs").orders if not o.destination] == [
        OrderKind.CANCEL
    ]


def test_retry_of_what_is_held_by_an_order_stays_held(ledger: Ledger) -> None:
    """It needs attention while its study is held: it is made ready to go, and waits for the release."""
    transfer_id, _ = _transfer_in(ledger, S.NEEDS_ATTENTION)
    _do(ledger, Verb.HOLD, STUDY)

    changed = _do(ledger, Verb.RETRY, STUDY)

    assert [(c.before, c.after) for c in changed.changes] == [(S.NEEDS_ATTENTION, S.HELD)]
    assert changed.held_by == (STUDY.id,)
    _do(ledger, Verb.RELEASE, STUDY)
    assert len(claim(ledger, transfer_id).deliveries) == 2


@pytest.mark.parametrize("archived", [False, True])
def test_cancelling_deletes_nothing_that_nobody_else_has(ledger: Ledger, archived: bool) -> None:
    """Archived: the item may go. Nowhere else: it stays, and is listed."""
    ledger.register([arrival(1, archive=archived)])
    if archived:
        archive_all(ledger)
    _do(ledger, Verb.CANCEL, STUDY)

    kept = ledger.releasable(host="gateway-1", limit=10)

    assert kept == (["spool-000001"] if archived else [])
    listed = [row.kind.value for row in ledger.needs_attention()]
    assert listed == ([] if archived else ["unrouted"])


def test_what_another_destination_has_may_go_when_the_rest_is_cancelled(ledger: Ledger) -> None:
    """Without an archive."""
    _two_destinations(ledger, 1, archive=False)
    group(ledger)
    mine = next(r for r in ledger.operations.transfers(STUDY, limit=9) if r.destination == "second")
    claimed = claim(ledger, mine.id)
    _do(ledger, Verb.CANCEL, STUDY, "pacs")
    assert ledger.releasable(host="gateway-1", limit=10) == []
    ledger.record_outcomes(mine.id, claimed.fence, outcomes(claimed, D.DELIVERED))

    assert ledger.releasable(host="gateway-1", limit=10) == ["spool-000001"]
    assert ledger.needs_attention() == []


def test_cancel_of_more_than_one_transaction_takes(
    ledger: Ledger, query: Callable[..., list[tuple[object, ...]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In portions, to the last: what has a transfer, and what has none yet."""
    monkeypatch.setattr("dicomrelay.ledger.cancelling.INSTANCES_AT_ONCE", 7)
    ledger.register([arrival(number) for number in range(40)])
    group(ledger, batch_instances=3)
    ledger.register([arrival(number) for number in range(40, 60)])

    changed = _do(ledger, Verb.CANCEL, STUDY)

    assert changed.instances == 60
    assert changed.unchanged == {}
    assert changed.ungrouped == 0
    assert query("SELECT DISTINCT state FROM deliveries") == [("cancelled",)]
    assert group(ledger) == 0
    _counts_are_true(query)


def test_retry_tries_archive_and_frames_again(ledger: Ledger) -> None:
    """What could not be archived is due at once; with --destination only deliveries are meant."""
    from dicomrelay.ledger import Stage, StageResult  # noqa: PLC0415

    ledger.register([arrival(1)])
    claimed = ledger.claim_instances(Stage.ARCHIVE, host="gateway-1", owner="r", limit=9, lease_ms=1)
    assert claimed is not None
    broken = [StageResult(item.instance.instance_id, done=False, reason="disk") for item in claimed.items]
    ledger.finish_stage(claimed, broken)

    assert _do(ledger, Verb.RETRY, STUDY, "pacs").stages == 0
    assert ledger.due(limit=9).archive_pending == 0
    assert _do(ledger, Verb.RETRY, STUDY).stages == 1
    assert ledger.due(limit=9).archive_pending == 1


def test_retry_makes_the_probe_of_an_open_breaker_due(
    ledger: Ledger, ledger_url: str, query: Callable[..., list[tuple[object, ...]]]
) -> None:
    """Whoever mended the line does not wait a minute for the next probe."""
    _transfer_in(ledger, S.READY)
    engine = create_engine(database_url(ledger_url))
    with engine.begin() as connection:
        connection.execute(text("UPDATE destinations SET breaker = 'open', probe_at = 99999999999999"))
    engine.dispose()
    assert due_ids(ledger) == []

    _do(ledger, Verb.RETRY, STUDY)

    assert query("SELECT probe_at < 99999999999999 FROM destinations WHERE name = 'pacs'") == [(True,)]
    assert len(due_ids(ledger)) == 1


def test_a_name_that_is_nothing_is_found_as_nothing(ledger: Ledger) -> None:
    assert ledger.operations.find("1.2.3.4") is None


def _counts_are_true(query: Callable[..., list[tuple[object, ...]]]) -> None:
    wrong = query(
        """SELECT i.id FROM instances i WHERE i.open_deliveries <> (SELECT count(*) FROM deliveries d
           WHERE d.instance_id = i.id AND d.state NOT IN ('delivered', 'warning', 'cancelled'))
           OR i.all_deliveries <> (SELECT count(*) FROM deliveries d
           WHERE d.instance_id = i.id AND d.state <> 'cancelled')"""
    )
    assert wrong == []


# Replay


def _replay(ledger: Ledger, subject: Subject = STUDY, **changes: object) -> ReplayOrder:
    return ReplayOrder("replay-1", subject, **changes)  # type: ignore[arg-type]


def _deliver_all(ledger: Ledger) -> None:
    group(ledger)
    for transfer_id in due_ids(ledger):
        claimed = claim(ledger, transfer_id)
        ledger.record_outcomes(transfer_id, claimed.fence, outcomes(claimed, D.DELIVERED))
        assert ledger.finish_transfer(transfer_id, claimed.fence, retry_in_ms=None) is S.DONE


def test_replay_to_another_destination_after_release(
    ledger: Ledger, query: Callable[..., list[tuple[object, ...]]]
) -> None:
    """The spool items are gone; the archive has them, and a worker is told where."""
    from dicomrelay.ledger import DestinationInfo  # noqa: PLC0415

    ledger.sync_destinations([DestinationInfo("research", "R", "h", 104)])
    ledger.register([arrival(number) for number in range(3)])
    archive_all(ledger)
    _deliver_all(ledger)
    assert len(ledger.mark_released(ledger.releasable(host="gateway-1", limit=9))) == 3

    done = ledger.operations.replay(_replay(ledger, destinations=("research",)))
    group(ledger)
    (transfer_id,) = due_ids(ledger)
    claimed = claim(ledger, transfer_id)

    assert (done.queued, done.bytes, done.gone) == (3, 3000, ())
    assert claimed.destination == "research"
    assert all(d.instance.released and d.instance.archive_path for d in claimed.deliveries)
    assert query("SELECT kind FROM evidence ORDER BY number DESC LIMIT 1") == [("replayed",)]
    progress = ledger.job_progress("replay-1")
    assert (progress.kind, progress.expected, progress.registered, progress.open) == ("replay", 3, 3, 3)
    ledger.record_outcomes(transfer_id, claimed.fence, outcomes(claimed, D.DELIVERED))
    ledger.finish_transfer(transfer_id, claimed.fence, retry_in_ms=None)
    assert ledger.job_progress("replay-1").finished
    assert ledger.releasable(host="gateway-1", limit=9) == []
    _counts_are_true(query)


def test_what_was_delivered_is_sent_again_only_when_it_is_said(ledger: Ledger) -> None:
    ledger.register([arrival(number) for number in range(2)])
    _deliver_all(ledger)

    without = ledger.operations.replay(_replay(ledger))
    with_it = ledger.operations.replay(_replay(ledger, again=True))
    twice = ledger.operations.replay(ReplayOrder("replay-2", STUDY, again=True))

    assert (without.queued, without.delivered_before, without.job_id) == (0, 2, "")
    assert (with_it.queued, with_it.destinations, with_it.job_id) == (2, ("pacs",), "replay-1")
    assert (twice.queued, twice.open) == (0, 2)


@pytest.mark.parametrize("state", [S.READY, S.WAITING, S.NEEDS_ATTENTION, S.HELD])
def test_what_is_open_is_left_to_retry_or_release(ledger: Ledger, state: S) -> None:
    """A second delivery beside it would send it twice."""
    _, claimed = _transfer_in(ledger, state)

    done = ledger.operations.replay(_replay(ledger, again=True))

    assert (done.open, done.queued) == ((2, 1) if claimed else (3, 0))


def test_what_was_cancelled_is_sent_by_replay(
    ledger: Ledger, query: Callable[..., list[tuple[object, ...]]]
) -> None:
    _transfer_in(ledger, S.CANCELLED)
    _do(ledger, Verb.CANCEL, STUDY)

    assert ledger.operations.replay(_replay(ledger)).queued == 3
    group(ledger)
    assert ledger.operations.end_cancelled() == 0
    (transfer_id,) = due_ids(ledger)
    assert len(claim(ledger, transfer_id).deliveries) == 3
    _counts_are_true(query)


def test_instances_whose_bytes_are_gone_are_named(ledger: Ledger) -> None:
    """Delivered where there is no archive, and released: nobody here has them any more."""
    ledger.register([arrival(number, archive=False) for number in range(2)])
    _deliver_all(ledger)
    ledger.mark_released(ledger.releasable(host="gateway-1", limit=1))

    done = ledger.operations.replay(_replay(ledger, again=True))

    assert (done.queued, len(done.gone)) == (1, 1)


def test_some_instances_only_and_names_that_are_none(ledger: Ledger) -> None:
    ledger.register([arrival(number) for number in range(3)])
    _deliver_all(ledger)
    chosen = frozenset({"1.2.3.1", "9.9"})

    done = ledger.operations.replay(_replay(ledger, sop_instance_uids=chosen, again=True))

    assert (done.queued, done.unknown) == (1, ("9.9",))


@pytest.mark.parametrize("kind", [SubjectKind.JOB, SubjectKind.TRANSFER])
def test_a_job_or_a_transfer_may_be_replayed(ledger: Ledger, kind: SubjectKind) -> None:
    ledger.create_job("job-1", kind="send", expected=2)
    ledger.register([arrival(number, job_id="job-1") for number in range(2)])
    ledger.register([arrival(7)])
    _deliver_all(ledger)
    rows = ledger.operations.transfers(Subject(SubjectKind.JOB, "job-1"), limit=9)
    subject = Subject(kind, "job-1" if kind is SubjectKind.JOB else rows[0].id)

    assert ledger.operations.replay(_replay(ledger, subject, again=True)).queued == 2


def test_a_replay_that_died_in_the_middle_is_sent_as_far_as_it_came(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was queued is grouped without the end of the replay; saying it again queues the rest."""
    monkeypatch.setattr("dicomrelay.ledger.replaying.INSTANCES_AT_ONCE", 2)
    ledger.register([arrival(number) for number in range(5)])
    _deliver_all(ledger)
    real = ledger.operations._database.write
    calls = iter(range(9))

    def dies() -> object:
        if next(calls) == 2:
            raise RuntimeError("killed")
        return real()

    with monkeypatch.context() as patched:
        patched.setattr(ledger.operations._database, "write", dies)
        with pytest.raises(RuntimeError):
            ledger.operations.replay(_replay(ledger, again=True))
    assert group(ledger) > 0
    rest = ledger.operations.replay(ReplayOrder("replay-2", STUDY, again=True))

    assert (rest.queued, rest.open) == (1, 4)


# Lists


def test_jobs_are_listed_newest_first_with_what_came_over_the_network(ledger: Ledger) -> None:
    ledger.create_job("job-1", kind="send", expected=1)
    ledger.register([arrival(1, job_id="job-1")])
    group(ledger)
    ledger.register([arrival(2, study_instance_uid="1.2.2", series_instance_uid="1.2.2.1")])

    rows = ledger.operations.jobs(limit=10)

    found = {(row.id, row.kind, row.state, row.ungrouped) for row in rows}
    assert found == {("job-1", "send", "ready", 0), ("1.2.2", "study", "arriving", 1)}


@pytest.mark.parametrize("state", list(TransferState))
def test_jobs_are_listed_by_state(ledger: Ledger, state: S) -> None:
    _transfer_in(ledger, state)
    ledger.register([arrival(8, study_instance_uid="1.2.8", series_instance_uid="1.2.8.1")])

    for asked in TransferState:
        rows = ledger.operations.jobs(limit=10, state=asked)
        assert [row.id for row in rows] == (["1.2.1"] if asked is state else []), asked


def test_many_jobs_are_paged_without_loss_or_repetition(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two lists of different ages, merged."""
    monkeypatch.setattr("dicomrelay.ledger.joblist._PAGE", 3)
    for number in range(10):
        ledger.create_job(f"job-{number}", kind="send", expected=1)
        ledger.register([arrival(number, job_id=f"job-{number}", study_instance_uid="1.2.9")])
    for number in range(10, 17):
        study = f"1.2.{number}"
        ledger.register([arrival(number, study_instance_uid=study, series_instance_uid=f"{study}.1")])
    everything = [row.id for row in ledger.operations.jobs(limit=100)]

    assert len(everything) == len(set(everything)) == 17
    assert [row.id for row in ledger.operations.jobs(limit=5)] == everything[:5]


@pytest.mark.parametrize("state", [S.READY, S.WAITING])
def test_retry_takes_what_was_refused_in_a_transfer_that_goes_on(
    ledger: Ledger, query: Callable[..., list[tuple[object, ...]]], state: S
) -> None:
    """It is not tried by itself, whatever the rest of the transfer does."""
    transfer_id, claimed = _transfer_in(ledger, S.RUNNING)
    assert claimed is not None
    if state is S.READY:
        assert ledger.flow.hand_back(claimed, "gave way")
    else:
        ledger.finish_transfer(transfer_id, claimed.fence, retry_in_ms=MINUTE_MS, reason="it was busy")

    done = ledger.operations.retry(STUDY)

    assert [(c.before, c.after) for c in done.changes] == [(state, S.READY)]
    assert query("SELECT state FROM deliveries WHERE state = 'refused'") == []
    again = claim(ledger, transfer_id)
    assert len(again.deliveries) == 2
    assert again.attempt == 1


def test_an_instance_whose_bytes_came_again_is_sent(
    ledger: Ledger, query: Callable[..., list[tuple[object, ...]]]
) -> None:
    """Only what we refused ourselves; and the chain of evidence says why it goes on."""
    ledger.register([arrival(number) for number in range(2)])
    group(ledger)
    (transfer_id,) = due_ids(ledger)
    claimed = claim(ledger, transfer_id)
    lost, refused = outcomes(claimed, D.REFUSED)
    ledger.record_outcomes(transfer_id, claimed.fence, [dataclasses.replace(lost, status=None), refused])
    assert ledger.finish_transfer(transfer_id, claimed.fence, retry_in_ms=None) is S.NEEDS_ATTENTION

    ledger.replace_spool_item(lost.instance_id, spool_id="again", host="gateway-1", data_set_offset=900)

    assert query("SELECT instance_id FROM deliveries WHERE state = 'refused'") == [(refused.instance_id,)]
    facts = [json.loads(str(body)) for (body,) in query("SELECT body FROM evidence WHERE kind = 'reopened'")]
    assert [(fact["instance_id"], fact["transfer_id"]) for fact in facts] == [(lost.instance_id, transfer_id)]
    again = claim(ledger, transfer_id)
    assert [each.instance.instance_id for each in again.deliveries] == [lost.instance_id]
