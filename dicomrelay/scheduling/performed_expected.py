"""How many instances a study will have, by what its performed steps say that they made (docs/design/mpps.md)."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, exists, func, or_, select, tuple_

from dicomrelay.dicom.performed_step import StepState
from dicomrelay.ledger.engine import Work
from dicomrelay.ledger.schema import KEPT, instances, studies
from dicomrelay.scheduling.performed_schema import performed_references as references
from dicomrelay.scheduling.performed_schema import performed_step_studies as step_studies
from dicomrelay.scheduling.performed_schema import performed_steps as steps


@dataclass(frozen=True, slots=True)
class Expected:
    """Of a study in which something waits.

    Attributes
    ----------
    instances : int
        What is there, and what its steps name besides; 1 or more.
    missing : int
        Of what its steps name.
    """

    study_instance_uid: str
    instances: int
    missing: int


@dataclass(frozen=True, slots=True)
class Page:
    """What one read has found.

    Attributes
    ----------
    last : tuple of (int, str), optional
        Where the next one goes on; None: there are no more.
    """

    found: tuple[Expected, ...]
    last: tuple[int, str] | None


def is_in_progress() -> ColumnElement[bool]:
    """Of a row of `studies`: a modality is at work on it and has not said what it makes."""
    return exists().where(
        step_studies.c.study_instance_uid == studies.c.study_instance_uid,
        steps.c.sop_instance_uid == step_studies.c.sop_instance_uid,
        steps.c.state == StepState.IN_PROGRESS.value,
    )


def expected(work: Work, *, since: int, behind: tuple[int, str] | None, limit: int) -> Page:
    """Of studies that wait, those of which it is known and not what the ledger has already. See `PerformedSteps.expected`."""
    place = studies.c.ungrouped_at, studies.c.study_instance_uid
    of_study = step_studies.c.study_instance_uid == studies.c.study_instance_uid
    of_step = steps.c.sop_instance_uid == step_studies.c.sop_instance_uid
    query = (
        select(*place, studies.c.expected_instances)
        .where(studies.c.ungrouped_at.is_not(None), exists().where(of_study), ~is_in_progress())
        .order_by(*place)
        .limit(limit)
    )
    if since:
        said = exists().where(of_study, of_step, steps.c.changed_at >= since)
        query = query.where(or_(studies.c.last_received_at >= since, said))
    if behind is not None:
        query = query.where(tuple_(*place) > tuple_(*behind))
    rows = work.connection.execute(query).all()
    found = []
    for _, uid, known in rows:
        counted = _counted(work, uid)
        if counted is not None and counted.instances != known:
            found.append(counted)
    last = rows[-1] if len(rows) == limit else None
    return Page(tuple(found), None if last is None else (last[0], last[1]))


def _counted(work: Work, study_instance_uid: str) -> Expected | None:
    """None when a step of it is for other studies too, or when its steps name nothing."""
    of_study = select(step_studies.c.sop_instance_uid).where(
        step_studies.c.study_instance_uid == study_instance_uid
    )
    elsewhere = select(step_studies.c.sop_instance_uid).where(
        step_studies.c.sop_instance_uid.in_(of_study),
        step_studies.c.study_instance_uid != study_instance_uid,
    )
    if work.connection.execute(elsewhere.limit(1)).first() is not None:
        return None
    is_here = exists().where(
        and_(
            KEPT,
            instances.c.sop_instance_uid == references.c.referenced_sop_instance_uid,
            instances.c.study_instance_uid == study_instance_uid,
        )
    )
    named = func.count(references.c.referenced_sop_instance_uid.distinct())
    query = select(named).where(references.c.sop_instance_uid.in_(of_study))
    if not work.connection.execute(query).scalar_one():
        return None
    missing = work.connection.execute(query.where(~is_here)).scalar_one()
    there = work.connection.execute(
        select(func.count()).where(KEPT, instances.c.study_instance_uid == study_instance_uid)
    ).scalar_one()
    return Expected(study_instance_uid, there + missing, missing) if there + missing else None
