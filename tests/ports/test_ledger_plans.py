"""`due` and what the sweeper asks read the work, not the history: the planner's own word for it, on many rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest
from sqlalchemy import Connection, create_engine, event, text

from dicomrelay.errors import RelayError
from dicomrelay.ledger import DeliveryState, Ledger, TransferState
from dicomrelay.ledger.completion import CompletionPolicy
from dicomrelay.ledger.engine import database_url
from dicomrelay.ledger.values_operations import ReplayOrder, Subject, SubjectKind
from tests.support.ledger import PACS, arrival, outcomes

DONE, PENDING = 20_000, 2_000
HOLD_WORK_ONLY = {
    "ix_instances_releasable",
    "ix_instances_set_aside",
    "ix_instances_unrouted",
    "ix_deliveries_refused",
    "ix_deliveries_failed",
    "ix_transfers_blocked",
    "ix_transfers_needs_attention",
    "ix_stages_needs_attention",
    "ix_verifications_needs_attention",
}

_STUDIES = (
    "INSERT INTO studies (study_instance_uid, first_received_at, last_received_at, ungrouped_at, evidence_count, "
    "evidence_pruned) VALUES (:study, 1, :at, :ungrouped, 1, :pruned)"
)
_SERIES = "INSERT INTO series VALUES (:study, :study, 'CT')"
_INSTANCE = """INSERT INTO instances (id, state, spool_id, host, sop_class_uid, sop_instance_uid, study_instance_uid,
    series_instance_uid, transfer_syntax_uid, modality, data_set_offset, data_set_bytes, digest, calling_ae_title,
    called_ae_title, peer_address, association_id, received_at, registered_at, source_path, archive_wanted, archive_path, frames,
    all_deliveries, open_deliveries, released_at)
    VALUES (:id, 'kept', :id, 'gateway-1', '1', :id, :study, :study, '1', 'CT', 900, 1000, 'd', '', '', '', '', 1, 1, :nothing,
    :wanted, :path, 1, 1, :open, :released)"""
_TRANSFER = """INSERT INTO transfers VALUES
    (:id, :study, 'pacs', 'normal', '', :state, :due, 1, '', 1, 1, 1000, '', 1, NULL, '')"""
_DELIVERY = """INSERT INTO deliveries (instance_id, destination, job_id, study_instance_uid, priority, bytes, transfer_id, state,
    attempts, status, reason, association_id, sent_bytes, duration_ms, created_at, updated_at) VALUES
    (:id, 'pacs', '', :study, 'normal', 1000, :transfer, :state, 1, 0, '', '', 1000, 1, 1, 1)"""
_JOB = "INSERT INTO jobs VALUES (:id, 'send', 1, 1, :at, '')"
_EVENT = """INSERT INTO events (at, kind, study_instance_uid, instance_id, transfer_id, destination, job_id, detail)
    VALUES (:at, 'transfer_made', :study, '', :id, 'pacs', '', '{}')"""
_JOB_ITEM = "INSERT INTO job_items VALUES (:id, :id, :id, 'new')"
_EVIDENCE = "INSERT INTO evidence VALUES (:study, 1, 1, 'received', '{}', '')"
_VERIFICATION = """INSERT INTO verifications VALUES (:id, :transfer, 'pacs', 'commitment', :verified, :due, 1, '', 1, 0, 0, :id,
    '', '', 1, 1, 1)"""
_STAGE = "INSERT INTO stages VALUES (:id, :stage, :host, :state, :due, '', '', 1, '', 1)"


def _fill(connection: Connection) -> None:
    """A long history and a short backlog."""
    rows = []
    for number in range(DONE + PENDING):
        done = number < DONE
        rows.append(
            {
                "id": f"{number:032}",
                "study": f"1.2.{number}",
                "at": number,
                "transfer": f"{number:032}",
                "state": "done" if done else "ready",
                "due": None if done else 1,
                "ungrouped": None if done else 1,
                "nothing": b"",
                "wanted": True,
                "path": "p" if done else "",
                "open": 0 if done else 1,
                "released": 1 if done else None,
                "pruned": int(number < DONE // 2),
                "verified": "verified" if done else "ready",
            }
        )
    for statement in (
        _STUDIES,
        _SERIES,
        _INSTANCE,
        _TRANSFER,
        _JOB,
        _JOB_ITEM,
        _EVENT,
        _EVIDENCE,
        _VERIFICATION,
    ):
        connection.execute(text(statement), rows)
    connection.execute(
        text(_DELIVERY),
        [
            row
            | {"state": "delivered" if row["due"] is None else "pending"}
            | ({} if row["due"] is None or number % 2 else {"transfer": None})
            for number, row in enumerate(rows)
        ],
    )
    for stage, host in (("archive", "gateway-1"), ("frames", "")):
        connection.execute(
            text(_STAGE),
            [
                row | {"stage": stage, "host": host, "state": "done" if row["due"] is None else "pending"}
                for row in rows
            ],
        )
    if connection.dialect.name == "postgresql":  # SQLite never does it by itself, a server does
        connection.execute(text("ANALYZE"))


@pytest.fixture
def filled(ledger: Ledger, ledger_url: str) -> Ledger:
    engine = create_engine(database_url(ledger_url))
    with engine.begin() as connection:
        _fill(connection)
    engine.dispose()
    return ledger


@pytest.fixture
def asked(filled: Ledger) -> Iterator[list[tuple[str, object]]]:
    """The statements that the ledger sends, with their parameters."""
    sent: list[tuple[str, object]] = []
    engine = filled._database._engine

    def note(_connection: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        if "FROM" in statement:
            sent.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    yield sent
    event.remove(engine, "before_cursor_execute", note)


def test_the_sweepers_questions_scan_no_table(
    filled: Ledger, asked: list[tuple[str, object]], ledger_url: str
) -> None:
    """Every statement of due, of grouping's look for quiet studies, of release and of attention goes by an index."""
    due = filled.due(limit=1000)
    assert (len(due.transfers), due.archive_pending, due.frames_pending) == (PACS.associations, 1000, 1000)
    assert filled.releasable(host="gateway-1", limit=100) == []
    filled.claim_transfer(due.transfers[0].id, owner="r", lease_ms=1000)
    filled.register([arrival(1)])
    filled.complete_quiet_studies(quiet_ms=10**9, batch_instances=10, batch_bytes=10**9, limit=10)
    filled.needs_attention()
    policy = CompletionPolicy(10**9, 10**9, 10, 10**9)
    filled.completion.any_complete(policy)
    filled.completion.cut(policy, [f"1.2.{DONE}", "1.2.1"])
    filled.completion.to_ask(limit=10, again_in_ms=1000)
    filled.completion.association_ended(["a1"])
    filled.releasable(host="gateway-1", limit=100, keep_ms=1000)
    filled.retention.prune_transfers(age_ms=10**9, limit=10)
    filled.retention.prune_jobs(age_ms=10**9, limit=10)
    filled.retention.prune_orders(age_ms=10**9, limit=10)
    filled.retention.prune_events(age_ms=10**9, limit=10)
    filled.retention.prune_evidence(age_ms=10**9, limit=10)
    filled.verifications.due(limit=10)
    filled.verifications.unverified()
    filled.operations.end_cancelled()
    filled.flow.wanted()
    filled.flow.wanted(host="gateway-1")
    claimed = filled.claim_next_transfer("pacs", owner="r", lease_ms=1000)
    assert claimed is not None
    filled.flow.signal(claimed)
    assert filled.record_outcomes(claimed.id, claimed.fence, outcomes(claimed, DeliveryState.DELIVERED))
    engine = create_engine(database_url(ledger_url))
    assert len(asked) > 15
    with engine.connect() as connection:
        for statement, parameters in asked:
            for line in _plan(connection, statement, parameters):
                assert not _scans(line), f"{line}: {statement}"
    engine.dispose()


@pytest.mark.parametrize("uid", ["1.2.7", f"{7:032}", "1.2.3.4.5"])
def test_a_trace_of_any_uid_scans_no_table(
    filled: Ledger, asked: list[tuple[str, object]], ledger_url: str, uid: str
) -> None:
    """A study, an instance, a series that is none of these, and what nothing here has."""
    with suppress(RelayError):
        filled.journey.find(uid)
    engine = create_engine(database_url(ledger_url))
    assert asked
    with engine.connect() as connection:
        for statement, parameters in asked:
            for line in _plan(connection, statement, parameters):
                assert not _scans(line), f"{line}: {statement}"
    engine.dispose()


# Read from its newest end, and no further than what is shown; and what arrives at the moment.
READ_IN_PART = {
    "ix_studies_last_received_at",
    "ix_jobs_created_at",
    "ix_deliveries_ungrouped",
    "ix_transfers_due",
    "ix_transfers_held",
    "ix_transfers_cancelled",
    "ix_transfers_running",
}


def test_what_people_ask_scans_no_table(
    filled: Ledger, asked: list[tuple[str, object]], ledger_url: str
) -> None:
    """Status and the lists of jobs: the newest, those in a state, one of them; and the verbs on one of them."""
    study = Subject(SubjectKind.STUDY, "1.2.7")
    filled.studies(limit=10)
    filled.waiting()
    filled.needs_attention(limit=10)
    filled.unheard()
    filled.operations.held()
    filled.operations.jobs(limit=10)
    for state in TransferState:
        filled.operations.jobs(limit=10, state=state)
    filled.operations.job(study)
    filled.operations.transfers(study, limit=10)
    filled.operations.hold(study)
    filled.operations.release(study)
    filled.operations.retry(study)
    filled.operations.replay(ReplayOrder("job-1", study, again=True))
    filled.operations.cancel(study)
    filled.job_progress("job-1")
    engine = create_engine(database_url(ledger_url))
    assert len(asked) > 60
    with engine.connect() as connection:
        for statement, parameters in asked:
            for line in _plan(connection, statement, parameters):
                in_part = line.startswith("SCAN ") and line.split()[-1] in READ_IN_PART
                assert in_part or not _scans(line), f"{line}: {statement}"
    engine.dispose()


def _plan(connection: Connection, statement: str, parameters: object) -> list[str]:
    if connection.dialect.name == "sqlite":
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)  # type: ignore[arg-type]
        return [str(row[-1]) for row in rows]
    if "pg_advisory" in statement:
        return []
    rows = connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)  # type: ignore[arg-type]
    return [str(row[0]) for row in rows]


def _scans(line: str) -> bool:
    """Whether a line of a plan reads a whole table that grows with history, or an index that holds all of it."""
    grows = (
        "instances",
        "transfers",
        "deliveries",
        "stages",
        "studies",
        "series",
        "events",
        "evidence",
        "jobs",
        "job_items",
        "verifications",
    )
    if line.startswith("SCAN "):  # SQLite
        words = line.split()
        return words[1] in grows and words[-1] not in HOLD_WORK_ONLY
    return any(f"Seq Scan on {table}" in line for table in grows)
