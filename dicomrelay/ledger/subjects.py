"""What an id stands for, and which rows belong to it."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, TextClause, select

from dicomrelay.ledger.engine import AnyRow, Work, chunks
from dicomrelay.ledger.schema import (
    DUE,
    HELD,
    NEEDS_ATTENTION,
    OF_A_JOB,
    deliveries,
    jobs,
    studies,
    transfers,
)
from dicomrelay.ledger.values_operations import Subject, SubjectKind

# Every open transfer is in one of these three indexes, and what is over in none.
_OPEN = (DUE, NEEDS_ATTENTION, HELD)


def find(work: Work, text: str) -> Subject | None:
    """A job, a transfer or a study of that id; None when there is none."""
    for kind, column in (
        (SubjectKind.JOB, jobs.c.id),
        (SubjectKind.TRANSFER, transfers.c.id),
        (SubjectKind.STUDY, studies.c.study_instance_uid),
    ):
        if work.connection.execute(select(column).where(column == text)).first() is not None:
            return Subject(kind, text)
    return None


def locked_transfers(work: Work, subject: Subject, destination: str) -> Sequence[AnyRow]:
    """The transfers of a subject in the order of their ids, under lock; of everything only what is open."""
    conditions = of_transfers(subject)
    if destination:
        conditions = [*conditions, transfers.c.destination == destination]
    if subject.kind is not SubjectKind.ALL:
        return _locked(work, conditions)
    # Each from its index; and then under lock in one order, whichever index they were in.
    ids = {
        key
        for is_open in _OPEN
        for key in work.connection.execute(select(transfers.c.id).where(*conditions, is_open)).scalars()
    }
    return [
        row for part in chunks(sorted(ids)) for row in _locked(work, [*conditions, transfers.c.id.in_(part)])
    ]


def _locked(work: Work, conditions: Sequence[ColumnElement[bool] | TextClause]) -> Sequence[AnyRow]:
    query = select(transfers).where(*conditions).order_by(transfers.c.id)
    return work.connection.execute(query.with_for_update(key_share=True)).all()


def of_deliveries(subject: Subject, destination: str) -> list[ColumnElement[bool] | TextClause]:
    """The conditions on deliveries that belong to a subject."""
    found: list[ColumnElement[bool] | TextClause] = []
    if subject.kind is SubjectKind.JOB:
        found = [deliveries.c.job_id == subject.id, OF_A_JOB]
    elif subject.kind is SubjectKind.STUDY:
        found = [deliveries.c.study_instance_uid == subject.id]
    elif subject.kind is SubjectKind.TRANSFER:
        found = [deliveries.c.transfer_id == subject.id]
    return [*found, deliveries.c.destination == destination] if destination else found


def of_transfers(subject: Subject) -> list[ColumnElement[bool] | TextClause]:
    """The conditions on transfers that belong to a subject; none for everything."""
    if subject.kind is SubjectKind.JOB:
        return [transfers.c.job_id == subject.id, OF_A_JOB]
    if subject.kind is SubjectKind.STUDY:
        return [transfers.c.study_instance_uid == subject.id]
    return [transfers.c.id == subject.id] if subject.kind is SubjectKind.TRANSFER else []
