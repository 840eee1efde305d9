"""Stages: archive and frames, claimed in batches of instances under lease."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select, update
from sqlalchemy.sql.expression import bindparam

from dicomrelay.ledger import events, evidence_chain, evidence_facts
from dicomrelay.ledger.engine import Work, chunks
from dicomrelay.ledger.events import Event, EventKind
from dicomrelay.ledger.facts import INSTANCE_COLUMNS, instance_facts
from dicomrelay.ledger.ids import new_id
from dicomrelay.ledger.new_rows import stage_row
from dicomrelay.ledger.schema import instances, stages
from dicomrelay.ledger.texts import storable
from dicomrelay.ledger.values import Stage, StageClaim, StageItem, StageResult, StageState


def stage_host(stage: Stage, host: str) -> str:
    """Whose rows a host may take: archiving reads its own spool, frames are read from the archive by anyone."""
    return host if stage is Stage.ARCHIVE else ""


def claim(work: Work, stage: Stage, *, host: str, owner: str, limit: int, lease_ms: int) -> StageClaim | None:
    """Take what is due; see `Ledger.claim_instances`."""
    due = list(
        work.connection.execute(
            select(stages.c.instance_id)
            .where(
                stages.c.stage == stage.value,
                stages.c.host == stage_host(stage, host),
                stages.c.due_at <= work.now,
            )
            .order_by(stages.c.due_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        ).scalars()
    )
    if not due:
        return None
    claim_id = new_id()
    items: list[StageItem] = []
    for part in chunks(sorted(due)):
        work.connection.execute(
            update(stages)
            .where(stages.c.stage == stage.value, stages.c.instance_id.in_(part))
            .values(
                due_at=work.now + lease_ms,
                claim=claim_id,
                owner=owner,
                attempts=stages.c.attempts + 1,
                updated_at=work.now,
            )
        )
        rows = work.connection.execute(
            select(*INSTANCE_COLUMNS, stages.c.attempts)
            .join(stages, stages.c.instance_id == instances.c.id)
            .where(stages.c.stage == stage.value, stages.c.instance_id.in_(part))
            .order_by(instances.c.id)
        )
        items.extend(StageItem(instance_facts(row), row.attempts) for row in rows)
    return StageClaim(claim_id, stage, owner, tuple(items))


def renew(work: Work, claimed: StageClaim, *, lease_ms: int) -> bool:
    """Prolong the lease on what is not finished of a claim; False when nothing of it is held any more."""
    held = _held(work, claimed, [item.instance.instance_id for item in claimed.items])
    for part in chunks(sorted(held)):
        work.connection.execute(
            update(stages)
            .where(stages.c.stage == claimed.stage.value, stages.c.instance_id.in_(part))
            .values(due_at=work.now + lease_ms)
        )
    return bool(held)


def finish(work: Work, claimed: StageClaim, results: Sequence[StageResult]) -> int:
    """Write the results; see `Ledger.finish_stage`."""
    held = _held(work, claimed, [result.instance_id for result in results])
    mine = sorted(
        (result for result in results if result.instance_id in held), key=lambda result: result.instance_id
    )
    if not mine:
        return 0
    work.connection.execute(
        update(stages)
        .where(stages.c.stage == claimed.stage.value, stages.c.instance_id == bindparam("key"))
        .values(claim="", owner="", updated_at=work.now),
        [
            {
                "key": result.instance_id,
                "state": _state_after(result).value,
                "due_at": None
                if _state_after(result) is not StageState.PENDING
                else work.now + (result.retry_in_ms or 0),
                "reason": storable(result.reason),
            }
            for result in mine
        ],
    )
    done = [result for result in mine if result.done]
    _write_facts(work, claimed.stage, done)
    events.record(
        work,
        [
            Event(
                EventKind.STAGE_NEEDS_ATTENTION,
                study_instance_uid=held[result.instance_id],
                instance_id=result.instance_id,
                detail={"stage": claimed.stage.value, "reason": storable(result.reason)},
            )
            for result in mine
            if _state_after(result) is StageState.NEEDS_ATTENTION
        ],
    )
    if claimed.stage is Stage.ARCHIVE:
        taken = {item.instance.instance_id: item.instance for item in claimed.items}
        evidence_chain.append(work, list(evidence_facts.of_archiving(done, taken)))
    return len(mine)


def _held(work: Work, claimed: StageClaim, instance_ids: Sequence[str]) -> dict[str, str]:
    """The study of each instance that is still under this claim; their rows are locked in the order of ids."""
    studies = {item.instance.instance_id: item.instance.study_instance_uid for item in claimed.items}
    held: dict[str, str] = {}
    for part in chunks(sorted(set(instance_ids))):
        rows = work.connection.execute(
            select(stages.c.instance_id)
            .where(
                stages.c.stage == claimed.stage.value,
                stages.c.instance_id.in_(part),
                stages.c.claim == claimed.id,
            )
            .order_by(stages.c.instance_id)
            .with_for_update()
        ).scalars()
        held.update((instance_id, studies.get(instance_id, "")) for instance_id in rows)
    return held


def _state_after(result: StageResult) -> StageState:
    if result.done:
        return StageState.DONE
    return StageState.NEEDS_ATTENTION if result.retry_in_ms is None else StageState.PENDING


def _write_facts(work: Work, stage: Stage, done: Sequence[StageResult]) -> None:
    if not done:
        return
    if stage is Stage.FRAMES:
        work.connection.execute(
            update(instances).where(instances.c.id == bindparam("key")),
            [{"key": result.instance_id, "frames": result.frames} for result in done],
        )
        return
    work.connection.execute(
        update(instances).where(instances.c.id == bindparam("key")),
        [{"key": result.instance_id, "archive_path": result.archive_path} for result in done],
    )
    work.insert_missing(
        stages,
        [
            stage_row(result.instance_id, Stage.FRAMES, stage_host(Stage.FRAMES, ""), work.now)
            for result in done
        ],
    )
