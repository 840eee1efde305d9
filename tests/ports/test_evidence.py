"""Evidence: every fact is in the chain of its study, and a chain is whole whoever appends (docs/design/evidence.md)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from typing import Any

import pytest
from sqlalchemy import event

from dicomrelay.errors import LedgerError
from dicomrelay.ledger import DeliveryState, Ledger, Stage, StageResult
from dicomrelay.ledger.engine import Database
from dicomrelay.ledger.evidence_chain import Fact, FactKind, append, prune
from dicomrelay.ledger.evidence_check import ChainCheck, EvidenceRow
from dicomrelay.ledger.values_evidence import SentFacts
from tests.support.ledger import (
    EXPLICIT,
    MINUTE_MS,
    archive_all,
    arrival,
    claim,
    claimed_transfer,
    due_ids,
    group,
    outcomes,
)

STUDY = "1.2.1"
DELIVERED, FAILED = DeliveryState.DELIVERED, DeliveryState.FAILED
SENT = SentFacts(
    calling_ae_title="DICOMRELAY",
    called_ae_title="PACS",
    address="10.0.0.9:104",
    words="out of resources",
    ago_ms=70,
)


def rows(ledger: Ledger, study: str = STUDY) -> list[EvidenceRow]:
    """The rows of a chain, which must be whole."""
    (head,) = ledger.evidence.heads([study])
    found = list(ledger.evidence.rows(head))
    check = ChainCheck(study, pruned=head.pruned, pruned_hash=head.pruned_hash)
    assert [fault for row in found if (fault := check.take(row))] == []
    assert check.end(head.count, head.hash) == ""
    return found


def kinds(ledger: Ledger) -> list[str]:
    return [row.kind for row in rows(ledger)]


def details(found: Sequence[EvidenceRow], kind: FactKind) -> list[dict[str, Any]]:
    return [row.facts["detail"] for row in found if row.kind == kind]


def test_an_arrival_is_in_evidence_with_where_it_came_from_and_where_it_goes(ledger: Ledger) -> None:
    """Digest, source, association, the decision and by which rules; nothing twice when it is registered again."""
    came = arrival(
        1, destinations=("pacs", "A,B@h:1"), rules="0, 2", rules_version="ab12", source_path="/in/DOE^JOHN"
    )
    ledger.register([came])
    ledger.register([came])
    (row,) = rows(ledger)
    assert row.kind == FactKind.RECEIVED
    assert row.facts["detail"] == {
        "verdict": "new",
        "sop_instance_uid": "1.2.3.1",
        "sop_class_uid": came.sop_class_uid,
        "series_instance_uid": "1.2.1.1",
        "transfer_syntax_uid": EXPLICIT,
        "digest": f"{1:064x}",
        "bytes": 1000,
        "calling_ae_title": "CT_1",
        "called_ae_title": "DICOMRELAY",
        "address": "10.0.0.1",
        "association_id": "a1",
        "received_at": 1_700_000_000_000,
        "destinations": "pacs\\A,B@h:1",
        "priority": "normal",
        "archive": 1,
        "rules": "0, 2",
        "rules_version": "ab12",
    }


def test_what_came_again_and_what_was_set_aside_are_in_evidence(ledger: Ledger) -> None:
    """A duplicate with the association that brought it; other bytes with their own digest."""
    ledger.register([arrival(1)])
    ledger.register([arrival(2, sop_instance_uid="1.2.3.1", digest=f"{1:064x}", association_id="a2")])
    ledger.register([arrival(3, sop_instance_uid="1.2.3.1", digest="f" * 64)])
    assert kinds(ledger) == ["received", "received", "set_aside"]
    again, aside = (row.facts["detail"] for row in rows(ledger)[1:])
    assert (again["verdict"], again["association_id"]) == ("duplicate", "a2")
    assert aside["digest"] == "f" * 64


def test_every_attempt_is_in_evidence_with_its_answer(ledger: Ledger) -> None:
    """Also one that another attempt of the same call makes good; times are those of the answer and not of the commit."""
    claimed = claimed_transfer(ledger, [arrival(1, job_id="j1")])
    (good,) = outcomes(claimed, DELIVERED)
    bad = replace(good, state=FAILED, status=0xA700, sent=SENT)
    copy = replace(SENT, transfer_syntax_uid="1.2.840.10008.1.2", digest="e" * 64, words="")
    assert ledger.record_outcomes(claimed.id, claimed.fence, [bad, replace(good, duration_ms=40, sent=copy)])
    failed, delivered = (row for row in rows(ledger) if row.kind == FactKind.SENT)
    assert delivered.facts["destination"] == "pacs"
    assert delivered.facts["transfer_id"] == claimed.id
    assert delivered.facts["job_id"] == "j1"
    assert failed.facts["detail"]["words"] == "out of resources"
    assert (failed.facts["detail"]["status"], failed.facts["detail"]["attempt"]) == (0xA700, 1)
    assert failed.facts["detail"]["digest"] == f"{1:064x}"
    assert delivered.facts["detail"] == {
        "state": "delivered",
        "status": 0,
        "attempt": 2,
        "sop_instance_uid": "1.2.3.1",
        "association_id": "out-1",
        "bytes": 1000,
        "transfer_syntax_uid": "1.2.840.10008.1.2",
        "digest": "e" * 64,
        "calling_ae_title": "DICOMRELAY",
        "called_ae_title": "PACS",
        "address": "10.0.0.9:104",
        "ended_at": delivered.at - 70,
        "started_at": delivered.at - 110,
    }


def test_outcomes_that_are_said_again_are_in_evidence_once(ledger: Ledger) -> None:
    """The answer to the call was lost, and it is repeated."""
    claimed = claimed_transfer(ledger, [arrival(1), arrival(2)])
    first, second = outcomes(claimed, DELIVERED, FAILED)
    ledger.record_outcomes(claimed.id, claimed.fence, [first])
    ledger.record_outcomes(claimed.id, claimed.fence, [first, second])
    assert [d["state"] for d in details(rows(ledger), FactKind.SENT)] == ["delivered", "failed"]


def test_an_attempt_that_reached_nobody_is_in_evidence_too(ledger: Ledger) -> None:
    """No association, no outcome: what is there to say is said of the transfer; in words of ours only."""
    claimed = claimed_transfer(ledger, [arrival(1), arrival(2)])
    ledger.finish_transfer(
        claimed.id,
        claimed.fence,
        retry_in_ms=1000,
        reason='; the peer says "DOE^JOHN"',
        words="no TCP connection",
    )
    (ended,) = details(rows(ledger), FactKind.ATTEMPT_ENDED)
    assert ended == {"state": "waiting", "attempt": 1, "to_do": 2, "refused": 0, "words": "no TCP connection"}


def test_an_answer_to_a_runner_that_lost_its_lease_is_in_evidence_as_that(ledger: Ledger) -> None:
    """The peer has it; the ledger goes on as if it had not."""
    claimed = claimed_transfer(ledger, [arrival(1)], lease_ms=0)
    claim(ledger, claimed.id)
    assert not ledger.record_outcomes(claimed.id, claimed.fence, outcomes(claimed, DELIVERED))
    (late,) = details(rows(ledger), FactKind.SENT_LATE)
    assert (late["state"], late["sop_instance_uid"]) == ("delivered", "1.2.3.1")
    assert FactKind.SENT not in kinds(ledger)


def test_what_was_reopened_is_in_evidence(ledger: Ledger) -> None:
    """On somebody's word."""
    claimed = claimed_transfer(ledger, [arrival(1)])
    ledger.record_outcomes(claimed.id, claimed.fence, outcomes(claimed, DeliveryState.REFUSED))
    ledger.finish_transfer(claimed.id, claimed.fence, retry_in_ms=None)
    assert ledger.reopen_transfer(claimed.id)
    assert kinds(ledger)[-1] == "reopened"


def test_what_was_archived_is_in_evidence_without_its_path(ledger: Ledger) -> None:
    """The path begins with the patient id. What was not archived is not there."""
    ledger.register([arrival(1), arrival(2)])
    claimed = ledger.claim_instances(Stage.ARCHIVE, host="gateway-1", owner="r", limit=9, lease_ms=MINUTE_MS)
    assert claimed is not None
    one, two = (item.instance.instance_id for item in claimed.items)
    ledger.finish_stage(
        claimed,
        [
            StageResult(one, done=True, archive_path="data/DOE^JOHN/x.dcm"),
            StageResult(two, done=False, reason="no room", retry_in_ms=5),
        ],
    )
    (row,) = (row for row in rows(ledger) if row.kind == FactKind.ARCHIVED)
    assert row.facts == {"instance_id": one, "detail": {"digest": f"{1:064x}", "bytes": 1000}}


def test_no_attribute_of_a_patient_is_in_evidence(ledger: Ledger) -> None:
    """Wherever one can come in: a file's name, the archive's path, what a peer says, a reason."""
    ledger.register([arrival(1, source_path="/in/CANARY^PATIENT.dcm"), arrival(2)])
    archive_all(ledger)
    group(ledger)
    (transfer_id,) = due_ids(ledger)
    claimed = claim(ledger, transfer_id)
    said = [
        replace(outcome, reason='; the peer says "CANARY^PATIENT"', sent=SENT)
        for outcome in outcomes(claimed, FAILED)
    ]
    ledger.record_outcomes(claimed.id, claimed.fence, said)
    ledger.finish_transfer(
        claimed.id, claimed.fence, retry_in_ms=5, reason="CANARY^PATIENT", advice="CANARY^PATIENT"
    )
    everything = json.dumps([row.as_json() for row in rows(ledger)])
    assert "CANARY" not in everything


@pytest.mark.parametrize("text", ["\0", "\ud800", "é\n\u202e", "x" * 9000])
def test_any_text_can_be_kept_and_checked(ledger: Ledger, ledger_url: str, text: str) -> None:
    """What PostgreSQL refuses as text is none in canonical form."""
    ledger.register([arrival(1)])
    database = Database(ledger_url)
    with database.write() as work:
        append(work, [Fact(FactKind.REPAIRED, STUDY, detail={"words": text})])
    database.dispose()
    assert rows(ledger)[-1].facts["detail"]["words"] == text[:8192]


def test_facts_of_a_study_that_nobody_knows_are_refused(ledger: Ledger, ledger_url: str) -> None:
    """And nothing of the call is kept: the transaction that they belong to is not either."""
    ledger.register([arrival(1)])
    database = Database(ledger_url)
    with pytest.raises(LedgerError, match=r"no study 1\.2\.99"), database.write() as work:
        append(work, [Fact(FactKind.REPAIRED, STUDY), Fact(FactKind.REPAIRED, "1.2.99")])
    database.dispose()
    assert kinds(ledger) == ["received"]


def append_many(url: str, count: int, studies: Sequence[str], owner: str) -> None:
    """In a process of its own: append to several studies, a transaction each time."""
    database = Database(url)
    for number in range(count):
        with database.write() as work:
            append(
                work, [Fact(FactKind.REPAIRED, uid, detail={"owner": owner, "n": number}) for uid in studies]
            )
    database.dispose()


def test_chains_are_whole_when_many_append_at_once(ledger: Ledger, ledger_url: str) -> None:
    """Processes that touch the same studies in different orders: nothing lost, no number twice, no deadlock."""
    ledger.register([arrival(1), arrival(2, study_instance_uid="1.2.2", series_instance_uid="1.2.2.1")])
    orders = [[STUDY, "1.2.2"], ["1.2.2", STUDY], [STUDY], ["1.2.2"]]
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(append_many, ledger_url, 15, order, f"p{n}") for n, order in enumerate(orders)]
        for job in jobs:
            job.result(timeout=120)
    for study in (STUDY, "1.2.2"):
        found = details(rows(ledger, study), FactKind.REPAIRED)
        assert len(found) == 45
        for owner in {each["owner"] for each in found}:
            assert [each["n"] for each in found if each["owner"] == owner] == list(range(15))


def test_arrivals_and_outcomes_of_the_same_instances_do_not_wait_for_each_other_for_ever(
    ledger: Ledger,
) -> None:
    """Both take the instances first and the study last; a duplicate that adds a job meets the outcomes of another."""
    numbers = range(20)
    ledger.register([arrival(n) for n in numbers])
    group(ledger, batch_instances=10)
    claims = [claim(ledger, transfer_id) for transfer_id in due_ids(ledger)]

    def record(place: int) -> None:
        claimed = claims[place]
        for outcome in outcomes(claimed, DELIVERED):
            ledger.record_outcomes(claimed.id, claimed.fence, [outcome])

    def come_again(job: int) -> None:
        for n in numbers:
            copy = arrival(
                1000 * job + n, sop_instance_uid=f"1.2.3.{n}", digest=f"{n:064x}", job_id=f"job-{job}"
            )
            ledger.register(
                [copy, replace(copy, spool_id=f"{copy.spool_id}-b", sop_instance_uid=f"1.2.4.{job}.{n}")]
            )

    with ThreadPoolExecutor(4) as pool:
        jobs = [
            *(pool.submit(record, place) for place in range(len(claims))),
            *(pool.submit(come_again, j) for j in (1, 2)),
        ]
        for each in jobs:
            each.result(timeout=120)
    assert kinds(ledger).count("sent") == 20
    assert kinds(ledger).count("received") == 20 + 2 * 2 * 20


def test_a_batch_costs_the_same_number_of_statements_whatever_its_size(
    ledger: Ledger, ledger_url: str
) -> None:
    """One to take the heads, one to insert, one to move the heads."""
    ledger.register([arrival(1)])
    database = Database(ledger_url)
    counts = []
    for size in (1, 50, 500):
        seen: list[str] = []
        with database.write() as work:
            note = lambda _c, _cu, statement, *_, seen=seen: seen.append(statement)  # noqa: E731
            event.listen(work.connection, "before_cursor_execute", note)
            append(work, [Fact(FactKind.REPAIRED, STUDY)] * size)
        counts.append(len(seen))
    database.dispose()
    # An insert of so many rows may be cut into pages by the driver's dialect, of 1,000 parameters or more each.
    assert counts[:2] == [3, 3]
    assert counts[2] <= 6


def test_old_evidence_of_a_study_that_is_over_goes_as_a_whole(ledger: Ledger, ledger_url: str) -> None:
    """Never while something is open, never what is young; what comes later continues the chain."""
    claimed = claimed_transfer(ledger, [arrival(1)])
    database = Database(ledger_url)

    def pruned(*, younger_ms: int = 0) -> int:
        with database.write() as work:
            return prune(work, before_ms=work.now + 1 - younger_ms, limit=10)

    assert pruned() == 0, "a delivery is open"
    ledger.record_outcomes(claimed.id, claimed.fence, outcomes(claimed, DELIVERED))
    ledger.finish_transfer(claimed.id, claimed.fence, retry_in_ms=None)
    assert pruned(younger_ms=MINUTE_MS) == 0, "it is young"
    before = rows(ledger)
    assert pruned() == len(before) == 2
    assert pruned() == 0
    assert rows(ledger) == []
    assert ledger.evidence.hash_at(STUDY, 2) == before[-1].hash
    assert ledger.evidence.hash_at(STUDY, 1) is None
    ledger.register([arrival(2)])
    (after,) = rows(ledger)
    assert after.number == 3
    database.dispose()
