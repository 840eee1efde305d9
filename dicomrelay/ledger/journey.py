"""Reads for `trace`: what happened to a study, a series or an instance, where it is, and what is open.

Nothing here gives out a path of the archive or of a submitted file, nor what a peer said: they may name a patient.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, or_, select

from dicomrelay.errors import ConfigurationError
from dicomrelay.ledger.decisions_schema import OF_MANY, decisions
from dicomrelay.ledger.engine import AnyRow, Database, Work
from dicomrelay.ledger.events import EventKind
from dicomrelay.ledger.schema import (
    deliveries,
    destinations,
    events,
    evidence,
    instances,
    series,
    stages,
    studies,
    transfers,
)
from dicomrelay.ledger.values import Stage

STUDY, SERIES, INSTANCE = "study", "series", "instance"
# Of events only what is in no evidence; the rest would be told twice.
_TOLD: Final = (
    EventKind.TRANSFER_MADE.value,
    EventKind.TRANSFER_CLAIMED.value,
    EventKind.TRANSFER_DONE.value,
    EventKind.TRANSFER_HANDED_BACK.value,
    EventKind.NOT_VERIFIED.value,
    EventKind.STAGE_NEEDS_ATTENTION.value,
)
# A reason may hold what a peer said, or the name of a file.
_NEVER: Final = frozenset({"reason"})
_archiving = stages.alias("archiving")
_framing = stages.alias("framing")


@dataclass(frozen=True, slots=True)
class Subject:
    """What a UID stands for."""

    level: str
    uid: str
    study_instance_uids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TracedInstance:
    """An instance; times are epoch milliseconds.

    `archived_as` is its path in the archive behind the folder of the patient, "" when it is not there; `archiving` and
    `framing` are the states of those stages, "" where there is none.
    """

    instance_id: str
    state: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    digest: str
    data_set_bytes: int
    calling_ae_title: str
    called_ae_title: str
    peer_address: str
    association_id: str
    received_at: int
    registered_at: int
    host: str
    spool_id: str
    released_at: int | None
    from_file: bool
    archived_as: str
    archiving: str
    framing: str
    frames: int | None


@dataclass(frozen=True, slots=True)
class TracedDelivery:
    """A delivery with all that says what comes next; `due_in_ms` and `probe_in_ms` may be negative: they are past."""

    instance_id: str
    sop_instance_uid: str
    destination: str
    job_id: str
    priority: str
    state: str
    attempts: int
    status: int | None
    association_id: str
    sent_bytes: int
    verification: str
    transfer_id: str
    transfer_state: str
    transfer_attempt: int
    due_in_ms: int | None
    advice: str
    breaker: str
    probe_in_ms: int | None
    destination_held: bool
    outside_of_windows: bool = False  # the settings' word, which the ledger does not know


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happened; `number` is that of its row of evidence, 0 where it is an event only."""

    at: int
    kind: str
    number: int
    study_instance_uid: str
    instance_id: str
    destination: str
    job_id: str
    transfer_id: str
    detail: dict[str, Any]


class Journey:
    """Every method raises ServiceUnavailable when the database does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, uid: str) -> Subject:
        """What a UID stands for.

        Raises
        ------
        ConfigurationError
            Nothing here has it.
        """
        with self._database.read() as work:
            for level, query in (
                (STUDY, select(studies.c.study_instance_uid).where(studies.c.study_instance_uid == uid)),
                (INSTANCE, select(instances.c.study_instance_uid).where(instances.c.sop_instance_uid == uid)),
                (SERIES, select(series.c.study_instance_uid).where(series.c.series_instance_uid == uid)),
            ):
                found = work.connection.execute(query.distinct()).scalars().all()
                if found:
                    return Subject(level, uid, tuple(sorted(found)))
        raise ConfigurationError(
            f"Nothing here has the UID {uid}: no study, no series, no instance; see `dicomrelay status`"
        )

    def instances(self, subject: Subject) -> list[TracedInstance]:
        """The instances of a subject, those set aside too, in the order in which they became known."""
        query = (
            select(
                instances,
                _archiving.c.state.label("archiving"),
                _framing.c.state.label("framing"),
            )
            .outerjoin(_archiving, _stage(_archiving, Stage.ARCHIVE))
            .outerjoin(_framing, _stage(_framing, Stage.FRAMES))
            .where(*_mine(subject))
            .order_by(instances.c.id)
        )
        with self._database.read() as work:
            return [_instance(row) for row in work.connection.execute(query)]

    def deliveries(self, subject: Subject) -> list[TracedDelivery]:
        """The deliveries of a subject's instances, with their transfers and destinations as they are now."""
        columns = deliveries.c
        query = (
            select(
                deliveries,
                instances.c.sop_instance_uid,
                transfers.c.state.label("transfer_state"),
                transfers.c.attempt.label("transfer_attempt"),
                transfers.c.due_at,
                transfers.c.advice,
                destinations.c.breaker,
                destinations.c.probe_at,
                destinations.c.held_at,
            )
            .join(instances, instances.c.id == columns.instance_id)
            .join(destinations, destinations.c.name == columns.destination)
            .outerjoin(transfers, transfers.c.id == columns.transfer_id)
            .where(*_mine(subject))
            .order_by(columns.destination, columns.instance_id, columns.job_id)
        )
        with self._database.read() as work:
            return [_delivery(row, work.now) for row in work.connection.execute(query)]

    def steps(self, subject: Subject, instance_ids: Sequence[str], transfer_ids: Sequence[str]) -> list[Step]:
        """What happened, in order: all of a study; of less, what is about these instances and these transfers."""
        wanted = None if subject.level == STUDY else frozenset({*instance_ids, *transfer_ids})
        found: list[Step] = []
        with self._database.read() as work:
            for study in subject.study_instance_uids:
                found.extend(_evidence(work, study, wanted))
                found.extend(_events(work, study, wanted))
                found.extend(_decided(work, study, wanted))
        # Within a millisecond evidence keeps its own order.
        return sorted(found, key=lambda step: (step.at, step.number))


def _mine(subject: Subject) -> list[ColumnElement[bool]]:
    column = {
        STUDY: instances.c.study_instance_uid,
        SERIES: instances.c.series_instance_uid,
        INSTANCE: instances.c.sop_instance_uid,
    }[subject.level]
    # The study too: the index begins with it.
    return [instances.c.study_instance_uid.in_(subject.study_instance_uids), column == subject.uid]


def _stage(alias: Any, stage: Stage) -> ColumnElement[bool]:
    return and_(alias.c.instance_id == instances.c.id, alias.c.stage == stage.value)


def _instance(row: AnyRow) -> TracedInstance:
    return TracedInstance(
        instance_id=row.id,
        state=row.state,
        sop_instance_uid=row.sop_instance_uid,
        series_instance_uid=row.series_instance_uid,
        study_instance_uid=row.study_instance_uid,
        sop_class_uid=row.sop_class_uid,
        transfer_syntax_uid=row.transfer_syntax_uid,
        digest=row.digest,
        data_set_bytes=row.data_set_bytes,
        calling_ae_title=row.calling_ae_title,
        called_ae_title=row.called_ae_title,
        peer_address=row.peer_address,
        association_id=row.association_id,
        received_at=row.received_at,
        registered_at=row.registered_at,
        host=row.host,
        spool_id=row.spool_id,
        released_at=row.released_at,
        from_file=bool(row.source_path),
        # data/PATIENT_ID/STUDY_UID/SERIES_UID/SOP_INSTANCE_UID.dcm: what is behind the patient.
        archived_as=("/".join(PurePosixPath(row.archive_path).parts[2:]) or "*") if row.archive_path else "",
        archiving=row.archiving or "",
        framing=row.framing or "",
        frames=row.frames,
    )


def _delivery(row: AnyRow, now: int) -> TracedDelivery:
    return TracedDelivery(
        instance_id=row.instance_id,
        sop_instance_uid=row.sop_instance_uid,
        destination=row.destination,
        job_id=row.job_id,
        priority=row.priority,
        state=row.state,
        attempts=row.attempts,
        status=row.status,
        association_id=row.association_id,
        sent_bytes=row.sent_bytes,
        verification=row.verification,
        transfer_id=row.transfer_id or "",
        transfer_state=row.transfer_state or "",
        transfer_attempt=row.transfer_attempt or 0,
        due_in_ms=None if row.due_at is None else row.due_at - now,
        advice=row.advice or "",
        breaker=row.breaker,
        probe_in_ms=None if row.probe_at is None else row.probe_at - now,
        destination_held=row.held_at is not None,
    )


def _evidence(work: Work, study: str, wanted: frozenset[str] | None) -> Iterator[Step]:
    columns = evidence.c
    query = (
        select(columns.number, columns.at, columns.kind, columns.body)
        .where(columns.study_instance_uid == study)
        .order_by(columns.number)
    )
    for row in _narrowed(work, query, columns.body, wanted):
        facts = json.loads(row.body)
        ids = {name: facts.get(name, "") for name in ("instance_id", "destination", "job_id", "transfer_id")}
        if (
            wanted is None
            or ids["instance_id"] in wanted
            or (not ids["instance_id"] and ids["transfer_id"] in wanted)
        ):
            yield Step(row.at, row.kind, row.number, study, detail=facts.get("detail", {}), **ids)


def _narrowed(work: Work, query: Any, body: Any, wanted: frozenset[str] | None) -> Iterator[AnyRow]:
    """The rows that may be about what is wanted. The database looks through them where that is little to look for."""
    if wanted is None or len(wanted) > 50:
        yield from work.connection.execute(query)
        return
    yield from work.connection.execute(
        query.where(or_(*(body.contains(key, autoescape=True) for key in sorted(wanted))))
    )


def _events(work: Work, study: str, wanted: frozenset[str] | None) -> Iterator[Step]:
    columns = events.c
    rows = work.connection.execute(
        select(events)
        .where(columns.study_instance_uid == study, columns.kind.in_(_TOLD))
        .order_by(columns.id)
    )
    for row in rows:
        if wanted is None or row.instance_id in wanted or (not row.instance_id and row.transfer_id in wanted):
            detail = {name: value for name, value in json.loads(row.detail).items() if name not in _NEVER}
            yield Step(
                row.at,
                row.kind,
                0,
                study,
                row.instance_id,
                row.destination,
                row.job_id,
                row.transfer_id,
                detail,
            )


def _decided(work: Work, study: str, wanted: frozenset[str] | None) -> Iterator[Step]:
    """What rules said of series and studies, and of instances what is in no evidence: edits, delays, renditions, prefetches."""
    own = (
        select(decisions)
        .join(instances, instances.c.id == decisions.c.subject)
        .where(instances.c.study_instance_uid == study)
    )
    later = select(decisions).where(decisions.c.study_instance_uid == study, OF_MANY)
    for row in (row for query in (own, later) for row in work.connection.execute(query)):
        outcome = json.loads(row.outcome)
        of_instance = row.level == INSTANCE
        if of_instance and (not _more(outcome) or (wanted is not None and row.subject not in wanted)):
            continue
        detail: dict[str, Any] = {} if of_instance else {"of": f"{row.level} {row.subject}"}
        detail["by_rules"] = f"{row.rules or 'none'} of {row.version}"
        if not of_instance:
            detail["to"] = ", ".join(outcome.get("destinations", {})) or "nowhere else"
        detail.update(_more(outcome))
        instance_id = row.subject if of_instance else ""
        yield Step(row.at, "decided", 0, study, instance_id, "", row.job_id, "", detail)


def _more(outcome: dict[str, Any]) -> dict[str, Any]:
    terms = outcome.get("destinations", {})
    told = {
        "edits": ", ".join(f"{name} by {how['edits']}" for name, how in terms.items() if how.get("edits")),
        "begins": ", ".join(
            f"{name} at {_clock(how['not_before'])}" for name, how in terms.items() if how.get("not_before")
        ),
        "renditions": ", ".join(outcome.get("renditions", ())),
        "prefetch": ", ".join(outcome.get("prefetch", ())),
    }
    return {name: words for name, words in told.items() if words}


def _clock(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%SZ}"
