"""Which scheduled steps a performed one belongs to, and what it makes of them (docs/design/worklist.md)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import and_, delete, insert, or_, select, update

from dicomrelay.ledger.engine import AnyRow, Work
from dicomrelay.ledger.texts import storable
from dicomrelay.scheduling.worklist_schema import worklist_items as items
from dicomrelay.scheduling.worklist_schema import worklist_performed as performed
from dicomrelay.scheduling.worklist_status import ENDED, PerformedState, StepStatus, status_by

# Items and links are written by one at a time: each is looked for by who writes the other.
SECTION: Final = "worklist"


@dataclass(frozen=True, slots=True)
class StepReference:
    """An item of Scheduled Step Attributes Sequence (0040,0270) of an MPPS; "" for what it does not give."""

    study_instance_uid: str
    accession_number: str = ""
    requested_procedure_id: str = ""
    step_id: str = ""


def link(
    work: Work, sop_instance_uid: str, references: Sequence[StepReference], state: PerformedState
) -> tuple[str, ...]:
    """See `Worklist.link_performed`; in the caller's transaction."""
    work.exclusive(SECTION)
    work.connection.execute(delete(performed).where(performed.c.sop_instance_uid == sop_instance_uid))
    rows = [
        {
            "sop_instance_uid": sop_instance_uid,
            "number": number,
            "study_instance_uid": storable(each.study_instance_uid),
            "accession_number": storable(each.accession_number),
            "requested_procedure_id": storable(each.requested_procedure_id),
            "step_id": storable(each.step_id),
            "state": state.value,
            "changed_at": work.now,
        }
        for number, each in enumerate(dict.fromkeys(references))
    ]
    if rows:
        work.connection.execute(insert(performed), rows)
    found: dict[str, AnyRow] = {}
    for each in references:
        found |= {row.id: row for row in _items_of(work, each)}
    for row in found.values():
        settle(work, row)
    return tuple(found)


def settle(work: Work, item: AnyRow) -> None:
    """Give an item the status that its performed steps make; without any it stays as it is."""
    status = status_by(_states_of(work, item))
    if status is not None and status.value != item.status:
        set_status(work, [item.id], status)


def set_status(work: Work, ids: Iterable[str], status: StepStatus) -> None:
    """Write a status; an item that is over stays so since when it was."""
    chosen = items.c.id.in_([*ids])
    if status not in ENDED:
        work.connection.execute(
            update(items).where(chosen).values(status=status.value, ended_at=None, changed_at=work.now)
        )
        return
    work.connection.execute(update(items).where(chosen, items.c.ended_at.is_(None)).values(ended_at=work.now))
    work.connection.execute(update(items).where(chosen).values(status=status.value, changed_at=work.now))


def _items_of(work: Work, reference: StepReference) -> Sequence[AnyRow]:
    """The items that a reference names."""
    of_study = work.connection.execute(
        select(items).where(items.c.study_instance_uid == reference.study_instance_uid).with_for_update()
    ).all()
    if of_study:
        return [row for row in of_study if _agrees(reference, row)]
    if not (reference.accession_number and reference.step_id):
        return []
    return work.connection.execute(
        select(items)
        .where(items.c.accession_number == reference.accession_number, items.c.step_id == reference.step_id)
        .with_for_update()
    ).all()


def _states_of(work: Work, item: AnyRow) -> list[PerformedState]:
    """The states of all performed steps that name an item."""
    by_study = performed.c.study_instance_uid == item.study_instance_uid
    by_number = and_(
        performed.c.accession_number == item.accession_number,
        performed.c.step_id == item.step_id,
        performed.c.accession_number != "",
    )
    rows = work.connection.execute(select(performed).where(or_(by_study, by_number))).all()
    known = set(
        work.connection.execute(
            select(items.c.study_instance_uid).where(
                items.c.study_instance_uid.in_({row.study_instance_uid for row in rows})
            )
        ).scalars()
    )
    return [
        PerformedState(row.state)
        for row in rows
        if (
            _agrees(row, item)
            if row.study_instance_uid == item.study_instance_uid
            else row.study_instance_uid not in known
        )
    ]


def _agrees(reference: StepReference | AnyRow, item: AnyRow) -> bool:
    """Whether what is given besides the study is the item's."""
    return all(
        given in ("", held)
        for given, held in (
            (reference.accession_number, item.accession_number),
            (reference.requested_procedure_id, item.requested_procedure_id),
            (reference.step_id, item.step_id),
        )
    )
