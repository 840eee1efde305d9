"""Rows of performed procedure steps as values."""

from __future__ import annotations

import json
import warnings
from collections import defaultdict
from collections.abc import Sequence

from pydicom import config
from pydicom.dataset import Dataset
from sqlalchemy import func, select

from dicomrelay.dicom.performed_step import StepState
from dicomrelay.ledger.engine import AnyRow, Work, chunks
from dicomrelay.ledger.schema import NEEDS_ATTENTION
from dicomrelay.scheduling.performed_facts import ScheduledReference
from dicomrelay.scheduling.performed_schema import (
    performed_forwards,
    performed_messages,
    performed_step_studies,
    performed_steps,
)
from dicomrelay.scheduling.performed_values import (
    ForwardRow,
    ForwardState,
    MessageKind,
    MessageRow,
    StepRow,
)


def attributes_of(text: str) -> Dataset:
    """A step from its DICOM JSON."""
    with config.disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they quote values
        return Dataset.from_json(json.loads(text))


def read_rows(
    work: Work,
    *,
    sop_instance_uid: str = "",
    state: StepState | None = None,
    study_instance_uid: str = "",
    is_stuck: bool = False,
    limit: int,
) -> tuple[StepRow, ...]:
    """The steps that changed last, of all that is given."""
    columns = performed_steps.c
    query = select(*(each for each in columns if each is not columns.attributes))
    if sop_instance_uid:
        query = query.where(columns.sop_instance_uid == sop_instance_uid)
    if state is not None:
        query = query.where(columns.state == state.value)
    if study_instance_uid:
        query = query.where(
            columns.sop_instance_uid.in_(
                select(performed_step_studies.c.sop_instance_uid).where(
                    performed_step_studies.c.study_instance_uid == study_instance_uid
                )
            )
        )
    if is_stuck:
        stuck = select(performed_forwards.c.sop_instance_uid).where(NEEDS_ATTENTION)
        query = query.where(columns.sop_instance_uid.in_(stuck))
    rows = work.connection.execute(
        query.order_by(columns.changed_at.desc(), columns.sop_instance_uid).limit(limit)
    ).all()
    uids = [row.sop_instance_uid for row in rows]
    scheduled, forwards = _scheduled(work, uids), _forwards(work, uids)
    return tuple(
        _row(row, tuple(scheduled[row.sop_instance_uid]), tuple(forwards[row.sop_instance_uid]))
        for row in rows
    )


def read_messages(work: Work, sop_instance_uid: str) -> tuple[MessageRow, ...]:
    """The messages of a step, without their data sets."""
    columns = performed_messages.c
    rows = work.connection.execute(
        select(
            columns.number,
            columns.kind,
            columns.calling_ae_title,
            columns.state,
            func.length(columns.data_set).label("size"),
            columns.at,
        )
        .where(columns.sop_instance_uid == sop_instance_uid)
        .order_by(columns.number)
    )
    return tuple(
        MessageRow(
            row.number,
            MessageKind(row.kind),
            row.calling_ae_title,
            StepState(row.state),
            row.size,
            row.at,
        )
        for row in rows
    )


def _row(row: AnyRow, scheduled: tuple[ScheduledReference, ...], forwards: tuple[ForwardRow, ...]) -> StepRow:
    return StepRow(
        row.sop_instance_uid,
        StepState(row.state),
        row.calling_ae_title,
        row.modality,
        row.station_ae_title,
        row.step_id,
        row.started,
        row.ended,
        row.series,
        row.instances,
        row.messages,
        row.created_at,
        row.changed_at,
        scheduled,
        forwards,
    )


def _scheduled(work: Work, uids: Sequence[str]) -> defaultdict[str, list[ScheduledReference]]:
    found: defaultdict[str, list[ScheduledReference]] = defaultdict(list)
    columns = performed_step_studies.c
    for part in chunks(uids):
        query = select(performed_step_studies).where(columns.sop_instance_uid.in_(part))
        for row in work.connection.execute(query.order_by(columns.sop_instance_uid, columns.number)):
            found[row.sop_instance_uid].append(
                ScheduledReference(
                    row.study_instance_uid,
                    row.accession_number,
                    row.requested_procedure_id,
                    row.scheduled_procedure_step_id,
                )
            )
    return found


def _forwards(work: Work, uids: Sequence[str]) -> defaultdict[str, list[ForwardRow]]:
    found: defaultdict[str, list[ForwardRow]] = defaultdict(list)
    columns = performed_forwards.c
    for part in chunks(uids):
        query = select(performed_forwards).where(columns.sop_instance_uid.in_(part))
        for row in work.connection.execute(query.order_by(columns.destination, columns.number)):
            found[row.sop_instance_uid].append(
                ForwardRow(
                    row.number,
                    row.destination,
                    ForwardState(row.state),
                    row.attempts,
                    row.status,
                    row.reason,
                    None if row.due_at is None else max(0, row.due_at - work.now),
                    bool(row.owner),
                )
            )
    return found
