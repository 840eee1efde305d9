"""Evidence: facts that a report must be able to show, in one chain of hashes a study. Rows are added, never changed.

The row of the study is the end of its chain and the lock on it: appends to one study take turns. Lock it after
everything else (destination, transfer, instances by id, then studies by UID), and append late: until the transaction ends,
nobody else appends to that study.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.sql.expression import bindparam

from dicomrelay.errors import LedgerError
from dicomrelay.ledger.engine import Work, chunks
from dicomrelay.ledger.evidence_form import canonical, link
from dicomrelay.ledger.schema import WITH_EVIDENCE, evidence, instances, studies

# Longer than the names of all the destinations that one instance goes to.
_LONGEST: Final = 8192


class FactKind(StrEnum):
    """Kinds of facts; docs/design/evidence.md says what each holds."""

    RECEIVED = "received"  # an arrival was registered
    DECIDED = "decided"  # a rule of its series or its study wants it sent
    SET_ASIDE = "set_aside"  # other bytes under a SOP Instance UID that is taken
    ARCHIVED = "archived"
    SENT = "sent"  # an attempt to deliver ended: detail `state` says how
    ATTEMPT_ENDED = (
        "attempt_ended"  # of a transfer, with something left; where nobody answered it is all there is
    )
    SENT_LATE = "sent_late"  # acknowledged to a runner that had lost its lease
    VERIFIED = "verified"  # the destination says that it has it
    MISSING = "missing"  # the destination says that it has not
    HELD = "held"
    UNHELD = "unheld"  # a hold was released
    CANCELLED = "cancelled"
    REOPENED = "reopened"  # to be tried again on somebody's word
    REPLAYED = "replayed"  # to be sent again from the archive or the spool
    REBUILT = "rebuilt"  # put into an empty ledger again by repair
    REPAIRED = "repaired"  # anything else that repair changed
    CLOSED = "closed"  # taken as delivered on somebody's word, not on the peer's


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact of one study; what it is not about is "".

    `detail` holds UIDs, AE titles, states, numbers and words of ours: never what a peer says and never a path in the
    archive, for both may name a patient.
    """

    kind: FactKind
    study_instance_uid: str
    instance_id: str = ""
    destination: str = ""
    job_id: str = ""
    transfer_id: str = ""
    detail: Mapping[str, str | int | None] = field(default_factory=dict)


def append(work: Work, facts: Sequence[Fact]) -> None:
    """Add facts to the chains of their studies, in this order, in this transaction and at its time.

    Three statements, whatever the number of facts, for up to 5,000 studies.

    Raises
    ------
    LedgerError
        A study that the ledger does not know.
    """
    if not facts:
        return
    ends = _locked_ends(work, sorted({fact.study_instance_uid for fact in facts}))
    rows: list[dict[str, object]] = []
    for fact in facts:
        number, previous = ends[fact.study_instance_uid]
        number += 1
        row = _row(fact, number, previous, work.now)
        ends[fact.study_instance_uid] = number, str(row["hash"])
        rows.append(row)
    work.connection.execute(insert(evidence), rows)
    work.connection.execute(
        update(studies).where(studies.c.study_instance_uid == bindparam("key")),
        [
            {"key": uid, "evidence_count": number, "evidence_hash": end}
            for uid, (number, end) in sorted(ends.items())
        ],
    )


def lock(work: Work, study_instance_uids: Sequence[str]) -> None:
    """Take the studies' turn before there is something to append: where their deliveries are to be changed first."""
    _locked_ends(work, sorted(set(study_instance_uids)))


def _locked_ends(work: Work, uids: Sequence[str]) -> dict[str, tuple[int, str]]:
    """How many rows each chain has, and the hash of its last, under lock."""
    columns = studies.c
    ends: dict[str, tuple[int, str]] = {}
    for part in chunks(uids):
        rows = work.connection.execute(
            select(columns.study_instance_uid, columns.evidence_count, columns.evidence_hash)
            .where(columns.study_instance_uid.in_(part))
            .order_by(columns.study_instance_uid)
            # Not the stronger lock: new rows elsewhere refer to the study meanwhile.
            .with_for_update(key_share=True)
        )
        ends.update((uid, (count, end)) for uid, count, end in rows)
    for uid in uids:
        if uid not in ends:
            raise LedgerError(f"There is no study {uid} in the ledger to keep evidence of")
    return ends


def _row(fact: Fact, number: int, previous: str, now: int) -> dict[str, object]:
    body = canonical(_body(fact))
    return {
        "study_instance_uid": fact.study_instance_uid,
        "number": number,
        "at": now,
        "kind": fact.kind.value,
        "body": body,
        "hash": link(
            previous=previous,
            study_instance_uid=fact.study_instance_uid,
            number=number,
            at=now,
            kind=fact.kind.value,
            body=body,
        ),
    }


def _body(fact: Fact) -> dict[str, object]:
    named = {
        "instance_id": fact.instance_id,
        "destination": fact.destination,
        "job_id": fact.job_id,
        "transfer_id": fact.transfer_id,
    }
    body: dict[str, object] = {name: value for name, value in named.items() if value}
    if fact.detail:
        body["detail"] = {
            # In canonical form every character is one that every database takes; only the length needs a bound.
            name: value[:_LONGEST] if isinstance(value, str) else value
            for name, value in fact.detail.items()
        }
    return body


def prune(work: Work, *, before_ms: int, limit: int) -> int:
    """Remove the rows of studies that are over; how many rows went. Call again while some go.

    Only where every row is older than `before_ms` (epoch milliseconds, the database's clock), nothing came since, and no
    delivery of the study is open. The study keeps the count and the last hash of what went: what is appended later
    continues the chain.

    Parameters
    ----------
    limit : int
        Studies that one call takes.
    """
    columns = studies.c
    # One look for each study that is asked about. Of EXISTS a planner may make a join with all the evidence there is.
    an_open_one = (
        select(instances.c.id)
        .where(instances.c.study_instance_uid == columns.study_instance_uid, instances.c.open_deliveries > 0)
        .limit(1)
        .scalar_subquery()
    )
    last_at = (
        select(evidence.c.at)
        .where(
            evidence.c.study_instance_uid == columns.study_instance_uid,
            evidence.c.number == columns.evidence_count,
        )
        .scalar_subquery()
    )
    old = list(
        work.connection.execute(
            select(columns.study_instance_uid)
            .where(
                WITH_EVIDENCE,
                columns.last_received_at < before_ms,
                an_open_one.is_(None),
                func.coalesce(last_at, 0) < before_ms,
            )
            # As the index is sorted that holds no study of which the evidence went before.
            .order_by(columns.last_received_at)
            .limit(limit)
            .with_for_update(key_share=True, skip_locked=True)
        ).scalars()
    )
    gone = 0
    for part in chunks(old):
        gone += work.connection.execute(
            delete(evidence).where(evidence.c.study_instance_uid.in_(part))
        ).rowcount
        work.connection.execute(
            update(studies)
            .where(columns.study_instance_uid.in_(part))
            .values(evidence_pruned=columns.evidence_count, evidence_pruned_hash=columns.evidence_hash)
        )
    return gone
