"""Facts for the chains, made of what the ledger is told. No SQL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from dicomrelay.ledger.engine import AnyRow
from dicomrelay.ledger.evidence_chain import Fact, FactKind
from dicomrelay.ledger.judgement import Batch
from dicomrelay.ledger.values import Arrival, DeliveryOutcome, InstanceFacts, StageResult, Verdict
from dicomrelay.ledger.values_evidence import SentFacts

Detail: TypeAlias = Mapping[str, str | int | None]

_NOTHING = SentFacts()


def _only_known(detail: Detail) -> Detail:
    """Without what is not known: every byte of it is kept for years."""
    return {name: value for name, value in detail.items() if value is not None and value != ""}


def of_arrivals(batch: Batch) -> Iterator[Fact]:
    """One of each arrival that was not known already."""
    for arrival, entry, verdict in batch.judged:
        if verdict is Verdict.KNOWN or (verdict is Verdict.CONFLICT and not entry.is_new):
            continue
        yield Fact(
            FactKind.SET_ASIDE if verdict is Verdict.CONFLICT else FactKind.RECEIVED,
            # The study that the ledger holds it under: bytes that differ may name another.
            entry.study_instance_uid,
            instance_id=entry.id,
            job_id=arrival.job_id,
            detail=_received(arrival, verdict),
        )


def _received(arrival: Arrival, verdict: Verdict) -> Detail:
    return _only_known(
        {
            "verdict": verdict.value,
            "sop_instance_uid": arrival.sop_instance_uid,
            "sop_class_uid": arrival.sop_class_uid,
            "series_instance_uid": arrival.series_instance_uid,
            "transfer_syntax_uid": arrival.transfer_syntax_uid,
            "digest": arrival.digest,
            "bytes": arrival.data_set_bytes,
            "calling_ae_title": arrival.calling_ae_title,
            "called_ae_title": arrival.called_ae_title,
            "address": arrival.peer_address,
            "association_id": arrival.association_id,
            "protocol": arrival.protocol,
            "user": arrival.user,
            "received_at": arrival.received_at_ms,
            # Parted as DICOM parts values: no name of ours and no AE title has a backslash (PS3.5 Section 6.2).
            "destinations": "\\".join(arrival.destinations),
            "priority": arrival.priority.value,
            "archive": int(arrival.archive),
            "rules": arrival.rules,
            "rules_version": arrival.rules_version,
        }
    )


def of_outcomes(
    kind: FactKind,
    transfer: AnyRow,
    outcomes: Iterable[DeliveryOutcome],
    known: Mapping[str, AnyRow],
    *,
    now: int,
) -> Iterator[Fact]:
    """One of each attempt that ended, also where a later one of the same call counts.

    Parameters
    ----------
    transfer : row
        Of transfers.
    known : mapping
        By instance id: `attempts` before this call, SOP Instance UID, transfer syntax and digest of what arrived.
    now : int
        Epoch milliseconds, the transaction's.
    """
    tried: dict[str, int] = {}
    for outcome in outcomes:
        row = known.get(outcome.instance_id)
        tried[outcome.instance_id] = tried.get(outcome.instance_id, 0) + 1
        attempt = tried[outcome.instance_id] + (row.attempts if row is not None else 0)
        yield Fact(
            kind,
            transfer.study_instance_uid,
            instance_id=outcome.instance_id,
            destination=transfer.destination,
            job_id=transfer.job_id,
            transfer_id=transfer.id,
            detail=_sent(outcome, row, attempt=attempt, now=now),
        )


def _sent(outcome: DeliveryOutcome, row: AnyRow | None, *, attempt: int, now: int) -> Detail:
    sent = outcome.sent or _NOTHING
    ended_at = now - sent.ago_ms
    went_out = outcome.status is not None and row is not None
    return _only_known(
        {
            "state": outcome.state.value,
            "status": outcome.status,
            "attempt": attempt,
            "sop_instance_uid": row.sop_instance_uid if row is not None else "",
            "association_id": outcome.association_id,
            "bytes": outcome.sent_bytes or None,
            "transfer_syntax_uid": sent.transfer_syntax_uid
            or (row.transfer_syntax_uid if went_out and row is not None else ""),
            "digest": sent.digest or (row.digest if went_out and row is not None else ""),
            "calling_ae_title": sent.calling_ae_title,
            "called_ae_title": sent.called_ae_title,
            "address": sent.address,
            "protocol": sent.protocol,
            "http_status": sent.http_status,
            "edits": sent.edits,
            "sent_sop_instance_uid": sent.sop_instance_uid,
            "started_at": ended_at - outcome.duration_ms,
            "ended_at": ended_at,
            "words": sent.words,
        }
    )


def of_archiving(results: Iterable[StageResult], facts: Mapping[str, InstanceFacts]) -> Iterator[Fact]:
    """One of each instance that the archive took; `facts` by instance id."""
    for result in results:
        instance = facts[result.instance_id]
        yield Fact(
            FactKind.ARCHIVED,
            instance.study_instance_uid,
            instance_id=result.instance_id,
            detail={"digest": instance.digest, "bytes": instance.data_set_bytes},
        )
