"""Reads of the evidence, for reports: bounded pages of chains that only ever grow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, select

from dicomrelay.errors import ConfigurationError
from dicomrelay.ledger import subjects
from dicomrelay.ledger.engine import Database, chunks
from dicomrelay.ledger.evidence_check import EvidenceRow
from dicomrelay.ledger.schema import deliveries, evidence, instances, job_items, studies, transfers
from dicomrelay.ledger.values_operations import Subject, SubjectKind

_PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class ChainHead:
    """A chain as its study states it: how many rows were ever appended, the last hash, and what was pruned."""

    study_instance_uid: str
    count: int
    hash: str
    pruned: int
    pruned_hash: str


@dataclass(frozen=True, slots=True)
class ReportSubject:
    """What a report is about; `job_id` and `transfer_id` are "" unless it is that, and say which deliveries are in it."""

    kind: str
    id: str
    study_instance_uids: tuple[str, ...]
    job_id: str = ""
    transfer_id: str = ""


@dataclass(frozen=True, slots=True)
class DeliveryCount:
    """How many deliveries the tables of the ledger hold, of one destination and state."""

    destination: str
    state: str
    deliveries: int


class Evidence:
    """What can be shown. Every method raises ServiceUnavailable when the database does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def subject(self, text: str) -> ReportSubject:
        """The job, transfer or study of that id.

        Raises
        ------
        ConfigurationError
            There is none.
        """
        with self._database.read() as work:
            found = subjects.find(work, text)
            if found is None:
                raise ConfigurationError(
                    f"There is no study, job or transfer {text} in the ledger: see `dicomrelay status`"
                )
            if found.kind is SubjectKind.STUDY:
                return ReportSubject("study", text, (text,))
            if found.kind is SubjectKind.TRANSFER:
                study = select(transfers.c.study_instance_uid).where(transfers.c.id == text)
                return ReportSubject(
                    "transfer", text, (work.connection.execute(study).scalar_one(),), transfer_id=text
                )
            submitted = (
                select(instances.c.study_instance_uid)
                .join(job_items, job_items.c.instance_id == instances.c.id)
                .where(job_items.c.job_id == text)
                .distinct()
            )
            uids = set(work.connection.execute(submitted).scalars())
            asked = (
                select(deliveries.c.study_instance_uid).where(*subjects.of_deliveries(found, "")).distinct()
            )
            uids.update(work.connection.execute(asked).scalars())
            return ReportSubject("job", text, tuple(sorted(uids)), job_id=text)

    def heads(self, study_instance_uids: Sequence[str]) -> list[ChainHead]:
        """The heads of chains, in the order of the UIDs."""
        columns = studies.c
        found: list[ChainHead] = []
        with self._database.read() as work:
            for part in chunks(sorted(study_instance_uids)):
                rows = work.connection.execute(
                    select(
                        columns.study_instance_uid,
                        columns.evidence_count,
                        columns.evidence_hash,
                        columns.evidence_pruned,
                        columns.evidence_pruned_hash,
                    )
                    .where(columns.study_instance_uid.in_(part))
                    .order_by(columns.study_instance_uid)
                )
                found.extend(ChainHead(*row) for row in rows)
        return found

    def rows(self, head: ChainHead) -> Iterator[EvidenceRow]:
        """The rows up to a head, in order, whatever is appended meanwhile; a page is one transaction."""
        number = 0
        while page := self._page(head, number):
            yield from page
            number = page[-1].number

    def _page(self, head: ChainHead, after: int) -> list[EvidenceRow]:
        columns = evidence.c
        with self._database.read() as work:
            rows = work.connection.execute(
                select(
                    columns.study_instance_uid,
                    columns.number,
                    columns.at,
                    columns.kind,
                    columns.body,
                    columns.hash,
                )
                .where(
                    columns.study_instance_uid == head.study_instance_uid,
                    columns.number > after,
                    columns.number <= head.count,
                )
                .order_by(columns.number)
                .limit(_PAGE)
            )
            return [EvidenceRow(*row) for row in rows]

    def hash_at(self, study_instance_uid: str, number: int) -> str | None:
        """The hash of a row; None when there is no such row any more, or there never was."""
        with self._database.read() as work:
            head = work.connection.execute(
                select(studies.c.evidence_pruned, studies.c.evidence_pruned_hash).where(
                    studies.c.study_instance_uid == study_instance_uid
                )
            ).one_or_none()
            if head is not None and head.evidence_pruned == number:
                return str(head.evidence_pruned_hash)
            return work.connection.execute(
                select(evidence.c.hash).where(
                    evidence.c.study_instance_uid == study_instance_uid, evidence.c.number == number
                )
            ).scalar_one_or_none()

    def deliveries(self, subject: ReportSubject) -> list[DeliveryCount]:
        """How things stand by the tables: beside the evidence, for what happened before there was any."""
        kind = SubjectKind(subject.kind)
        columns = deliveries.c
        with self._database.read() as work:
            rows = work.connection.execute(
                select(columns.destination, columns.state, func.count())
                .where(*subjects.of_deliveries(Subject(kind, subject.id), ""))
                .group_by(columns.destination, columns.state)
                .order_by(columns.destination, columns.state)
            )
            return [DeliveryCount(*row) for row in rows]
