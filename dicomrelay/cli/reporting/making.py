"""Makes a report of what the ledger can show."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Protocol

from dicomrelay import __version__
from dicomrelay.cli.reporting.deliveries import Deliveries
from dicomrelay.cli.reporting.records import NAME, VERSION, Record, RecordKind, derived
from dicomrelay.ledger.evidence import ChainHead, DeliveryCount, ReportSubject
from dicomrelay.ledger.evidence_check import EvidenceRow


class Source(Protocol):
    """What a report is made of; `Ledger.evidence` is one."""

    def rows(self, head: ChainHead) -> Iterator[EvidenceRow]:
        """The rows up to a head, in order; the same each time."""

    def deliveries(self, subject: ReportSubject) -> list[DeliveryCount]:
        """How things stand by the tables."""


def records(
    evidence: Source, subject: ReportSubject, heads: Sequence[ChainHead], summaries: list[Record]
) -> Iterator[Record]:
    """The records of a report up to the last but one, in order.

    The chains are read twice, up to the same heads: for what they say of the deliveries, and for themselves.
    Memory is that of the deliveries; `summaries` is given those of the report.
    """
    deliveries = Deliveries(subject.job_id, subject.transfer_id)
    for head in heads:
        for row in evidence.rows(head):
            deliveries.take(row)
    yield Record(
        RecordKind.REPORT,
        {
            "report": NAME,
            "version": VERSION,
            "subject": {"kind": subject.kind, "id": subject.id},
            "made_at": time.time_ns() // 1_000_000,
            "made_by": f"dicomrelay {__version__}",
            # How the tables stand: for what happened before there was evidence, or after it was pruned.
            "ledger": [asdict(count) for count in evidence.deliveries(subject)],
        },
    )
    summary, found = derived(deliveries)
    summaries.extend(summary)
    yield from summary
    for head in heads:
        yield Record(RecordKind.CHAIN, asdict(head))
    yield from found
    for head in heads:
        for row in evidence.rows(head):
            yield Record(RecordKind.EVIDENCE, row.as_json())
