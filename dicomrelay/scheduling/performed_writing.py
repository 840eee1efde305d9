"""A message becomes rows, in one transaction (docs/design/mpps.md)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pydicom.dataset import Dataset
from sqlalchemy import delete, insert, or_, select, update

from dicomrelay.dicom.performed_step import ObjectStatus, StepState
from dicomrelay.ledger.engine import Work, chunks
from dicomrelay.ledger.texts import storable
from dicomrelay.scheduling import performed_queue
from dicomrelay.scheduling.performed_facts import StepFacts, facts_of
from dicomrelay.scheduling.performed_reading import attributes_of
from dicomrelay.scheduling.performed_rules import StepRefused, changed, json_of
from dicomrelay.scheduling.performed_schema import (
    performed_forwards,
    performed_messages,
    performed_references,
    performed_step_studies,
    performed_steps,
)
from dicomrelay.scheduling.performed_values import MessageKind, StepMessage
from dicomrelay.scheduling.worklist_links import StepReference, link
from dicomrelay.scheduling.worklist_status import PerformedState

MAX_MESSAGES: Final = 1000
LEFT_AFTER_MS: Final = 30 * 86_400_000
# Of a step as it is kept: each message may add attributes.
MAX_JSON_CHARACTERS: Final = 32 << 20


@dataclass(frozen=True, slots=True)
class Prepared:
    """A step as it will be: made before the transaction, for a large one takes its time.

    Attributes
    ----------
    attributes : str
        DICOM JSON.
    after : int
        How many messages there were before.
    is_other : bool
        Whether it names other instances than before.
    """

    facts: StepFacts
    attributes: str
    after: int = 0
    is_other: bool = True


def prepared(step: Dataset) -> Prepared:
    """A step that `performed_rules.created` has made. Raises StepRefused for a value that fits its VR in no way (0106)."""
    return Prepared(facts_of(step), _as_json(step))


def prepared_change(work: Work, message: StepMessage, *, strict: bool, by_anybody: bool) -> Prepared:
    """What a message makes of a step; a read. Raises StepRefused as `PerformedSteps.change`."""
    columns = performed_steps.c
    row = work.connection.execute(
        select(columns.attributes, columns.messages, columns.calling_ae_title).where(
            columns.sop_instance_uid == message.sop_instance_uid
        )
    ).first()
    if row is None:
        raise no_such_step()
    if not by_anybody and row.calling_ae_title != storable(message.calling_ae_title):
        raise of_another()
    before = attributes_of(row.attributes)
    after = changed(before, message.attributes, strict=strict)
    if row.messages >= MAX_MESSAGES:
        raise StepRefused(ObjectStatus.RESOURCE_LIMITATION, "too many messages about this step")
    facts = facts_of(after)
    is_other = facts.references != facts_of(before).references
    return Prepared(facts, _as_json(after), row.messages, is_other)


def create(work: Work, message: StepMessage, step: Prepared, destinations: Iterable[str]) -> None:
    """Write a step. Raises StepRefused when there is one of that UID (0111)."""
    facts = step.facts
    insert_step = work.insert(performed_steps).values(
        sop_instance_uid=message.sop_instance_uid,
        calling_ae_title=storable(message.calling_ae_title),
        attributes=step.attributes,
        messages=1,
        created_at=work.now,
        changed_at=work.now,
        **_columns(facts),
    )
    key = performed_steps.c.sop_instance_uid
    if work.connection.execute(insert_step.on_conflict_do_nothing().returning(key)).first() is None:
        raise StepRefused(ObjectStatus.DUPLICATE_SOP_INSTANCE, "there is a step of that UID")
    _write_studies(work, message.sop_instance_uid, facts)
    _write_references(work, message.sop_instance_uid, facts)
    _write_message(work, message, 1, MessageKind.CREATE, facts.state)
    performed_queue.add(work, message.sop_instance_uid, 1, destinations)
    _link(work, message.sop_instance_uid, facts)


def change(work: Work, message: StepMessage, step: Prepared) -> bool:
    """Write what a message has made of a step; False, and nothing, when another message was faster."""
    facts, number = step.facts, step.after + 1
    written = work.connection.execute(
        update(performed_steps)
        .where(
            performed_steps.c.sop_instance_uid == message.sop_instance_uid,
            performed_steps.c.messages == step.after,
        )
        .values(attributes=step.attributes, messages=number, changed_at=work.now, **_columns(facts))
    )
    if written.rowcount != 1:
        return False
    if step.is_other:
        _write_references(work, message.sop_instance_uid, facts)
    _write_message(work, message, number, MessageKind.SET, facts.state)
    names = performed_queue.destinations_of(work, message.sop_instance_uid)
    performed_queue.add(work, message.sop_instance_uid, number, names)
    _link(work, message.sop_instance_uid, facts)
    return True


def prune(work: Work, *, age_ms: int, limit: int) -> int:
    """See `PerformedSteps.prune`."""
    forwards, columns = performed_forwards.c, performed_steps.c
    open_ones = select(forwards.sop_instance_uid).where(forwards.state.in_(performed_queue.OPEN))
    # Nobody ends what was begun so long ago.
    left = work.now - max(age_ms, LEFT_AFTER_MS)
    uids = list(
        work.connection.execute(
            select(columns.sop_instance_uid)
            .where(
                columns.changed_at < work.now - age_ms,
                or_(columns.state != StepState.IN_PROGRESS.value, columns.changed_at < left),
                columns.sop_instance_uid.not_in(open_ones),
            )
            .order_by(columns.changed_at)
            .limit(limit)
        ).scalars()
    )
    for part in chunks(uids):
        work.connection.execute(delete(performed_steps).where(columns.sop_instance_uid.in_(part)))
    return len(uids)


def no_such_step() -> StepRefused:
    """0112."""
    return StepRefused(ObjectStatus.NO_SUCH_SOP_INSTANCE, "there is no step of that UID")


def of_another() -> StepRefused:
    """0124."""
    return StepRefused(ObjectStatus.NOT_AUTHORIZED, "another AE title has made the step")


# ---- inside


def _columns(facts: StepFacts) -> dict[str, str | int]:
    return {
        "state": facts.state.value,
        "modality": storable(facts.modality),
        "station_ae_title": storable(facts.station_ae_title),
        "step_id": storable(facts.step_id),
        "started": storable(facts.started),
        "ended": storable(facts.ended),
        "series": facts.series,
        "instances": len(facts.references),
    }


def _write_studies(work: Work, sop_instance_uid: str, facts: StepFacts) -> None:
    work.connection.execute(
        insert(performed_step_studies),
        [
            {
                "sop_instance_uid": sop_instance_uid,
                "number": number,
                "study_instance_uid": each.study_instance_uid,
                "accession_number": storable(each.accession_number),
                "requested_procedure_id": storable(each.requested_procedure_id),
                "scheduled_procedure_step_id": storable(each.scheduled_procedure_step_id),
            }
            for number, each in enumerate(facts.scheduled, 1)
        ],
    )


def _write_references(work: Work, sop_instance_uid: str, facts: StepFacts) -> None:
    """In place of those that were there."""
    of_step = performed_references.c.sop_instance_uid == sop_instance_uid
    work.connection.execute(delete(performed_references).where(of_step))
    rows = [
        {
            "sop_instance_uid": sop_instance_uid,
            "referenced_sop_instance_uid": each.sop_instance_uid,
            "referenced_sop_class_uid": each.sop_class_uid,
            "series_instance_uid": each.series_instance_uid,
        }
        for each in facts.references
    ]
    if rows:
        work.connection.execute(insert(performed_references), rows)


def _write_message(
    work: Work, message: StepMessage, number: int, kind: MessageKind, state: StepState
) -> None:
    work.connection.execute(
        insert(performed_messages).values(
            sop_instance_uid=message.sop_instance_uid,
            number=number,
            kind=kind.value,
            calling_ae_title=storable(message.calling_ae_title),
            transfer_syntax_uid=message.transfer_syntax_uid,
            data_set=message.data_set,
            state=state.value,
            at=work.now,
        )
    )


def _link(work: Work, sop_instance_uid: str, facts: StepFacts) -> None:
    """What the worklist makes of it. Last in the transaction: the worklist has one writer at a time."""
    references = [
        StepReference(
            each.study_instance_uid,
            each.accession_number,
            each.requested_procedure_id,
            each.scheduled_procedure_step_id,
        )
        for each in facts.scheduled
    ]
    link(work, sop_instance_uid, references, PerformedState(facts.state.value))


def _as_json(step: Dataset) -> str:
    text = json.dumps({f"{int(element.tag):08X}": json_of(element) for element in step})
    if len(text) > MAX_JSON_CHARACTERS:
        raise StepRefused(ObjectStatus.RESOURCE_LIMITATION, "with this the step is too large")
    return text
