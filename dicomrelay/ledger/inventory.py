"""What the ledger holds, row by row, for those who hold it against the world: pages in the order of their keys.

Memory is that of a page, however large the ledger is. What belongs together is read in one statement, so that it is of one
state of the database on PostgreSQL too, and nothing looks wrong only because it changed between two questions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, ScalarSelect, Select, and_, case, exists, func, or_, select

from dicomrelay.ledger import keeping, waiting
from dicomrelay.ledger.engine import AnyRow, Database, Work, chunks
from dicomrelay.ledger.evidence_check import EvidenceRow
from dicomrelay.ledger.facts import INSTANCE_COLUMNS, instance_facts
from dicomrelay.ledger.schema import (
    UNGROUPED,
    deliveries,
    evidence,
    instances,
    stages,
    studies,
    transfers,
    verifications,
)
from dicomrelay.ledger.values import DeliveryState, InstanceFacts, InstanceState, Stage, WaitingStage
from dicomrelay.ledger.values_verification import VerificationState, Verified
from dicomrelay.ledger.verification_opening import OPEN as OPEN_VERIFICATION

PAGE: Final = 1000
# Chains are read in the order of their studies, so many studies a statement.
_STUDIES: Final = 50
_ROWS_AT_ONCE: Final = 500

_archiving = stages.alias("archiving")
_framing = stages.alias("framing")
_OPEN: Final = (DeliveryState.PENDING.value, DeliveryState.FAILED.value, DeliveryState.REFUSED.value)
_GOES_ON: Final = (DeliveryState.PENDING.value, DeliveryState.FAILED.value)
_HAS_IT: Final = (DeliveryState.DELIVERED.value, DeliveryState.WARNING.value)
_CANCELLED: Final = "cancelled"
# What keeps the bytes of an instance here: no destination has it, or the one that has it is still to confirm that.
OPEN_DELIVERY: Final = or_(
    deliveries.c.state.in_(_OPEN),
    and_(
        deliveries.c.state.in_(_HAS_IT),
        deliveries.c.verification.in_(
            [Verified.PENDING.value, Verified.MISSING.value, Verified.UNKNOWN.value]
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Counts:
    """How many rows there are to go through."""

    instances: int
    transfers: int
    studies: int


@dataclass(frozen=True, slots=True)
class StageEntry:
    """A stage of an instance; `due_in_ms` is None when it is never due."""

    state: str
    due_in_ms: int | None


@dataclass(frozen=True, slots=True)
class InstanceEntry:
    """An instance with everything that must agree with it.

    Attributes
    ----------
    released_ms_ago : int, optional
        When its spool item was given up; None while it is needed.
    counted, counted_open : int
        Its deliveries that were not cancelled, and those of them that no destination has.
    """

    facts: InstanceFacts
    state: InstanceState
    archive_wanted: bool
    frames: int | None
    all_deliveries: int
    open_deliveries: int
    released_ms_ago: int | None
    counted: int
    counted_open: int
    archiving: StageEntry | None
    framing: StageEntry | None


@dataclass(frozen=True, slots=True)
class TransferEntry:
    """A transfer.

    Attributes
    ----------
    to_do : int
        Its deliveries that an attempt would send.
    unconfirmed : int
        Its deliveries that its destination is to confirm.
    is_asked : bool
        Somebody will ask for that, or it is listed that nobody does.
    """

    id: str
    study_instance_uid: str
    destination: str
    state: str
    due_in_ms: int | None
    to_do: int
    unconfirmed: int
    is_asked: bool


@dataclass(frozen=True, slots=True)
class Chain:
    """What a study says of its chain: where it ends, and after which row it begins since retention took the others."""

    study_instance_uid: str
    count: int
    end: str
    pruned: int
    pruned_end: str


class Inventory:
    """Reads for `dicomrelay check`. Every method raises ServiceUnavailable when the database does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def counts(self) -> Counts:
        """How much there is."""
        with self._database.read() as work:
            tables = (instances, transfers, studies)
            numbers = [
                work.connection.execute(select(func.count()).select_from(t)).scalar_one() for t in tables
            ]
        return Counts(*numbers)

    def hosts(self) -> set[str]:
        """The names of the spools that instances were registered from."""
        with self._database.read() as work:
            return set(work.connection.execute(select(instances.c.host).distinct()).scalars())

    def instances(self, page: int = PAGE) -> Iterator[list[InstanceEntry]]:
        """All instances in the order of their ids, page by page."""
        last = ""
        while True:
            with self._database.read() as work:
                rows = work.connection.execute(
                    _entries().where(instances.c.id > last).order_by(instances.c.id).limit(page)
                ).all()
            if rows:
                yield [_entry(row, work) for row in rows]
            if len(rows) < page:
                return
            last = rows[-1].id

    def instance(self, instance_id: str) -> InstanceEntry | None:
        """One instance as it is now; None when it is gone."""
        with self._database.read() as work:
            row = work.connection.execute(_entries().where(instances.c.id == instance_id)).one_or_none()
            return None if row is None else _entry(row, work)

    def by_spool_id(self, spool_ids: Sequence[str]) -> dict[str, InstanceEntry]:
        """Of these spool items those that are known."""
        with self._database.read() as work:
            found = [
                _entry(row, work)
                for part in chunks(spool_ids)
                for row in work.connection.execute(_entries().where(instances.c.spool_id.in_(part)))
            ]
        return {entry.facts.spool_id: entry for entry in found}

    def kept(self, sop_instance_uids: Sequence[str]) -> dict[str, InstanceEntry]:
        """Of these SOP Instance UIDs those that are known, with the instance that counts."""
        is_kept = instances.c.state == InstanceState.KEPT.value
        with self._database.read() as work:
            found = [
                _entry(row, work)
                for part in chunks(sop_instance_uids)
                for row in work.connection.execute(
                    _entries().where(instances.c.sop_instance_uid.in_(part), is_kept)
                )
            ]
        return {entry.facts.sop_instance_uid: entry for entry in found}

    def in_conflict(self, sop_instance_uids: Sequence[str]) -> set[str]:
        """Of these SOP Instance UIDs those under which other bytes are set aside."""
        with self._database.read() as work:
            return keeping.in_conflict(work, sop_instance_uids)

    def held(self, sop_instance_uids: Sequence[str]) -> set[str]:
        """Of these SOP Instance UIDs those that a standing hold on their study or on a job of theirs keeps."""
        with self._database.read() as work:
            return keeping.held(work, sop_instance_uids)

    def stages_waiting(self) -> tuple[WaitingStage, ...]:
        """What the archive did not take, or has no frames of, and is tried again by itself, with the reason."""
        with self._database.read() as work:
            return waiting.waiting_stages(work)

    def transfers(self, page: int = PAGE) -> Iterator[list[TransferEntry]]:
        """All transfers in the order of their ids, page by page."""
        query = _transfers()
        last = ""
        while True:
            with self._database.read() as work:
                rows = work.connection.execute(
                    query.where(transfers.c.id > last).order_by(transfers.c.id).limit(page)
                ).all()
            if rows:
                yield [
                    TransferEntry(
                        row.id,
                        row.study_instance_uid,
                        row.destination,
                        row.state,
                        _in_ms(row.due_at, work),
                        row.to_do,
                        row.unconfirmed,
                        row.is_asked,
                    )
                    for row in rows
                ]
            if len(rows) < page:
                return
            last = rows[-1].id

    def forgotten(self, limit: int = PAGE) -> Iterator[tuple[str, int]]:
        """Studies with deliveries that no transfer has and that nobody will group, and how many those are."""
        query = (
            select(deliveries.c.study_instance_uid, func.count().label("left"))
            .join(studies, studies.c.study_instance_uid == deliveries.c.study_instance_uid)
            .where(UNGROUPED, deliveries.c.state != _CANCELLED, studies.c.ungrouped_at.is_(None))
            .group_by(deliveries.c.study_instance_uid)
            .order_by(deliveries.c.study_instance_uid)
            .limit(limit)
        )
        last = ""
        while True:
            with self._database.read() as work:
                rows = work.connection.execute(query.where(deliveries.c.study_instance_uid > last)).all()
            yield from ((row.study_instance_uid, row.left) for row in rows)
            if len(rows) < limit:
                return
            last = rows[-1].study_instance_uid

    def evidence(self) -> Iterator[tuple[Chain, EvidenceRow | None]]:
        """Every row of every chain, in the order of studies and numbers, beside what the study says of it; None without one."""
        last: str | None = ""
        while last is not None:
            with self._database.read() as work:
                page = select(studies.c.study_instance_uid).where(studies.c.study_instance_uid > last)
                uids = list(
                    work.connection.execute(
                        page.order_by(studies.c.study_instance_uid).limit(_STUDIES)
                    ).scalars()
                )
                last = uids[-1] if len(uids) == _STUDIES else None
                rows = work.connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(_chains(uids))
                for row in rows:
                    chain = Chain(
                        row.study_instance_uid,
                        row.evidence_count,
                        row.evidence_hash,
                        row.evidence_pruned,
                        row.evidence_pruned_hash,
                    )
                    uid = chain.study_instance_uid
                    yield (
                        chain,
                        None
                        if row.number is None
                        else EvidenceRow(uid, row.number, row.at, row.kind, row.body, row.hash),
                    )


def _transfers() -> Select[Any]:
    mine = deliveries.c.transfer_id == transfers.c.id

    def counted(condition: ColumnElement[bool]) -> ScalarSelect[int]:
        return select(func.count()).where(mine, condition).scalar_subquery()

    asks = or_(
        and_(verifications.c.state.in_(OPEN_VERIFICATION), verifications.c.due_at.is_not(None)),
        verifications.c.state == VerificationState.NEEDS_ATTENTION.value,
    )
    return select(
        transfers.c.id,
        transfers.c.study_instance_uid,
        transfers.c.destination,
        transfers.c.state,
        transfers.c.due_at,
        counted(deliveries.c.state.in_(_GOES_ON)).label("to_do"),
        counted(
            and_(deliveries.c.state.in_(_HAS_IT), deliveries.c.verification == Verified.PENDING.value)
        ).label("unconfirmed"),
        exists().where(verifications.c.transfer_id == transfers.c.id, asks).label("is_asked"),
    )


def _chains(uids: Sequence[str]) -> Select[Any]:
    return (
        select(
            studies.c.study_instance_uid,
            studies.c.evidence_count,
            studies.c.evidence_hash,
            studies.c.evidence_pruned,
            studies.c.evidence_pruned_hash,
            evidence.c.number,
            evidence.c.at,
            evidence.c.kind,
            evidence.c.body,
            evidence.c.hash,
        )
        .join(evidence, evidence.c.study_instance_uid == studies.c.study_instance_uid, isouter=True)
        .where(studies.c.study_instance_uid.in_(uids))
        .order_by(studies.c.study_instance_uid, evidence.c.number)
    )


def _count(*conditions: Any) -> Any:
    return func.coalesce(func.sum(case((and_(*conditions), 1), else_=0)), 0)


def _entries() -> Select[Any]:
    mine = deliveries.c.instance_id == instances.c.id
    state = deliveries.c.state

    def counted(*conditions: Any) -> Any:
        return select(_count(*conditions)).where(mine).scalar_subquery()

    return (
        select(
            *INSTANCE_COLUMNS,
            instances.c.state,
            instances.c.archive_wanted,
            instances.c.frames,
            instances.c.all_deliveries,
            instances.c.open_deliveries,
            counted(state != _CANCELLED).label("counted"),
            counted(OPEN_DELIVERY).label("counted_open"),
            _archiving.c.state.label("archiving"),
            _archiving.c.due_at.label("archiving_due_at"),
            _framing.c.state.label("framing"),
            _framing.c.due_at.label("framing_due_at"),
        )
        .join(
            _archiving,
            and_(_archiving.c.instance_id == instances.c.id, _archiving.c.stage == Stage.ARCHIVE.value),
            isouter=True,
        )
        .join(
            _framing,
            and_(_framing.c.instance_id == instances.c.id, _framing.c.stage == Stage.FRAMES.value),
            isouter=True,
        )
    )


def _entry(row: AnyRow, work: Work) -> InstanceEntry:
    return InstanceEntry(
        facts=instance_facts(row),
        state=InstanceState(row.state),
        archive_wanted=row.archive_wanted,
        frames=row.frames,
        all_deliveries=row.all_deliveries,
        open_deliveries=row.open_deliveries,
        released_ms_ago=None if row.released_at is None else max(0, work.now - row.released_at),
        counted=row.counted,
        counted_open=row.counted_open,
        archiving=_stage(row.archiving, row.archiving_due_at, work),
        framing=_stage(row.framing, row.framing_due_at, work),
    )


def _stage(state: str | None, due_at: int | None, work: Work) -> StageEntry | None:
    return None if state is None else StageEntry(state, _in_ms(due_at, work))


def _in_ms(due_at: int | None, work: Work) -> int | None:
    return None if due_at is None else due_at - work.now
