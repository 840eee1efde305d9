"""Chains that no ledger made, and reports of them."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from dicomrelay.cli.reporting.making import records
from dicomrelay.cli.reporting.records import Format, Record, ReportHash, closed
from dicomrelay.cli.reporting.verifying import Verdict, verify
from dicomrelay.ledger.evidence import ChainHead, DeliveryCount, ReportSubject
from dicomrelay.ledger.evidence_check import EvidenceRow
from dicomrelay.ledger.evidence_form import canonical, link

STUDY = "1.2.1"
OTHER = "1.2.2"


def chain(
    bodies: Iterable[tuple[str, Mapping[str, Any]]],
    study: str = STUDY,
    *,
    number: int = 0,
    previous: str = "",
) -> list[EvidenceRow]:
    """Rows of these kinds and bodies, linked."""
    rows = []
    for kind, body in bodies:
        number += 1
        text = canonical(body)
        at = 1_768_212_000_000 + number
        previous = link(
            previous=previous, study_instance_uid=study, number=number, at=at, kind=kind, body=text
        )
        rows.append(EvidenceRow(study, number, at, kind, text, previous))
    return rows


def received(number: int, *destinations: str, **more: object) -> tuple[str, dict[str, Any]]:
    """An instance came."""
    detail = {
        "sop_instance_uid": f"1.2.3.{number}",
        "digest": f"{number:064x}",
        "calling_ae_title": "=CT_1",
        "received_at": 1_768_212_000_000,
        "destinations": "\\".join(destinations),
    }
    return "received", {"instance_id": f"i{number}", "detail": detail, **more}


def sent(
    number: int, destination: str, state: str, status: int | None = 0, **more: object
) -> tuple[str, dict[str, Any]]:
    """An attempt ended."""
    detail: dict[str, Any] = {
        "state": state,
        "attempt": 1,
        "started_at": 1_768_212_001_000,
        "ended_at": 1_768_212_001_500,
    }
    if status is not None:
        detail |= {"status": status, "bytes": 1000, "digest": f"{number:064x}", "association_id": "a-7"}
    return "sent", {
        "instance_id": f"i{number}",
        "destination": destination,
        "transfer_id": "t1",
        "detail": detail,
        **more,
    }


def about(kind: str, number: int, destination: str = "", **detail: object) -> tuple[str, dict[str, Any]]:
    """Another fact of an instance."""
    body: dict[str, Any] = {"instance_id": f"i{number}", "detail": detail}
    return kind, body | ({"destination": destination} if destination else {})


def two_studies() -> list[list[EvidenceRow]]:
    """Three instances for two destinations with all kinds of ends, and a study of one."""
    first = chain(
        [
            *(received(number, "pacs", "backup") for number in (1, 2, 3)),
            sent(1, "pacs", "delivered"),
            sent(2, "pacs", "failed", None),
            about("archived", 1, digest="0" * 63 + "1"),
            sent(2, "pacs", "warning", 0xB000),
            sent(3, "pacs", "refused", 0xC000),
            about("verified", 1, "pacs", method="find"),
            sent(1, "backup", "delivered"),
            about("cancelled", 2, "backup"),
            ("attempt_ended", {"transfer_id": "t1", "destination": "pacs", "detail": {"state": "waiting"}}),
        ]
    )
    return [first, chain([received(9, "pacs", job_id="j1")], OTHER)]


class Chains:
    """Stands where the ledger's evidence stands: the same reads, of rows in memory."""

    def __init__(self, chains: Sequence[Sequence[EvidenceRow]]) -> None:
        self._chains = {rows[0].study_instance_uid: rows for rows in chains}

    def heads(self) -> list[ChainHead]:
        """As the studies would state them."""
        return [
            ChainHead(uid, rows[-1].number, rows[-1].hash, 0, "")
            for uid, rows in sorted(self._chains.items())
        ]

    def rows(self, head: ChainHead) -> Iterator[EvidenceRow]:
        """See `Evidence.rows`."""
        return iter(self._chains[head.study_instance_uid])

    def deliveries(self, _subject: ReportSubject) -> list[DeliveryCount]:
        """See `Evidence.deliveries`."""
        return [DeliveryCount("pacs", "delivered", 1)]


def report_of(chains: Sequence[Sequence[EvidenceRow]], form: Format, *, kind: str = "study") -> str:
    """The text of a report of these chains."""
    source = Chains(chains)
    subject = ReportSubject(
        kind, "j1" if kind == "job" else STUDY, (STUDY,), job_id="j1" if kind == "job" else ""
    )
    return written(records(source, subject, source.heads(), []), form)


def written(some: Iterable[Record], form: Format) -> str:
    """A file of records, closed as every report is."""
    file = io.StringIO()
    form.write(closed(some, form.text, total=ReportHash()), file)
    return file.getvalue()


def checked(text: str, form: Format) -> Verdict:
    """What `--verify` says of a file."""
    return verify(form.read(io.StringIO(text, newline="")), form)


def head_record(head: ChainHead) -> dict[str, Any]:
    """As it stands in a report."""
    return asdict(head)
