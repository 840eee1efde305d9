"""What repair writes. Every change has its condition in it once more: between the look and the change the relay may have worked.

Each function returns what it really changed. Events and evidence are written in the same transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, or_, select, update
from sqlalchemy.sql.expression import bindparam

from dicomrelay.ledger import evidence_chain, ingest, verification_opening, verification_verbs, waits
from dicomrelay.ledger.engine import AnyRow, Database, Work, chunks
from dicomrelay.ledger.evidence_chain import Fact, FactKind
from dicomrelay.ledger.inventory import OPEN_DELIVERY
from dicomrelay.ledger.mending_rows import locked, studies_of, tell, tell_rebuilt, tell_studies
from dicomrelay.ledger.new_rows import stage_row
from dicomrelay.ledger.schema import (
    deliveries,
    destinations,
    instances,
    stages,
    studies,
    transfers,
    verifications,
)
from dicomrelay.ledger.texts import storable
from dicomrelay.ledger.values import (
    Arrival,
    DeliveryState,
    InstanceState,
    Stage,
    StageState,
    TransferState,
    Verdict,
)
from dicomrelay.ledger.values_verification import Verified

_NEVER_DUE: Final = ("done", "needs_attention", "held", "cancelled")
_GOES_ON: Final = (DeliveryState.PENDING.value, DeliveryState.FAILED.value)


@dataclass(frozen=True, slots=True)
class Archived:
    """An instance that only the archive has; `frames` is None while its frame index is to be made."""

    arrival: Arrival
    archive_path: str
    frames: int | None


class Mending:
    """Writes for `dicomrelay repair`. Every method raises ServiceUnavailable when the database does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def count_again(self, instance_ids: Sequence[str]) -> list[str]:
        """Make the counts of instances what their deliveries say."""
        mine = deliveries.c.instance_id == instances.c.id
        wanted = select(func.count()).where(mine, deliveries.c.state != "cancelled").scalar_subquery()
        still_open = select(func.count()).where(mine, OPEN_DELIVERY).scalar_subquery()
        with self._database.write() as work:
            ids = locked(work, instance_ids)
            for part in chunks(ids):
                work.connection.execute(
                    update(instances)
                    .where(instances.c.id.in_(part))
                    .values(all_deliveries=wanted, open_deliveries=still_open)
                )
            tell(work, ids, "deliveries counted again")
            return ids

    def let_group(self, study_instance_uids: Sequence[str]) -> list[str]:
        """Let the deliveries of studies that have no transfer be made into transfers."""
        with self._database.write() as work:
            waits.locked(work, study_instance_uids)
            changed = [
                uid
                for part in chunks(sorted(study_instance_uids))
                for uid in work.connection.execute(
                    update(studies)
                    .where(studies.c.study_instance_uid.in_(part), studies.c.ungrouped_at.is_(None))
                    .values(ungrouped_at=work.now)
                    .returning(studies.c.study_instance_uid)
                ).scalars()
            ]
            tell_studies(work, changed, "deliveries that no transfer had are grouped")
            return changed

    def wake_transfers(self, transfer_ids: Sequence[str], *, furthest_ms: int) -> list[str]:
        """Give transfers the time that goes with their state; one that is over and has something to do is ready again.

        Parameters
        ----------
        furthest_ms : int
            What is due later than that from now is due now.
        """
        has_to_do = (
            select(deliveries.c.instance_id)
            .where(deliveries.c.transfer_id == transfers.c.id, deliveries.c.state.in_(_GOES_ON))
            .exists()
        )
        wrongly_over = (transfers.c.state == TransferState.DONE.value) & has_to_do
        never = or_(transfers.c.due_at.is_(None), transfers.c.due_at > bindparam("furthest"))
        changed: list[str] = []
        with self._database.write() as work:
            for part in chunks(sorted(transfer_ids)):
                mine = transfers.c.id.in_(part)
                for condition, values in (
                    (
                        wrongly_over,
                        {"state": TransferState.READY.value, "due_at": work.now, "finished_at": None},
                    ),
                    (transfers.c.state.in_(_NEVER_DUE) & transfers.c.due_at.is_not(None), {"due_at": None}),
                    (transfers.c.state.not_in(_NEVER_DUE) & never, {"due_at": work.now}),
                ):
                    rows = work.connection.execute(
                        update(transfers)
                        .where(mine, condition)
                        .values(**values)
                        .returning(transfers.c.id, transfers.c.study_instance_uid),
                        {"furthest": work.now + furthest_ms},
                    ).all()
                    changed += [row.id for row in rows]
                    tell_studies(work, [row.study_instance_uid for row in rows], "a transfer goes on")
        return changed

    def ask_again(self, transfer_ids: Sequence[str]) -> list[str]:
        """Let destinations be asked for what they are to confirm, or take their word where they are asked no more."""
        changed: list[str] = []
        with self._database.write() as work:
            for key in sorted(transfer_ids):
                transfer = work.connection.execute(
                    select(transfers).where(transfers.c.id == key).with_for_update(key_share=True)
                ).one_or_none()
                if transfer is not None and _let_ask(work, transfer):
                    changed.append(key)
                    tell_studies(work, [transfer.study_instance_uid], "what was to be confirmed is asked for")
        return changed

    def wake_stages(self, instance_ids: Sequence[str], *, furthest_ms: int) -> list[str]:
        """Give the stages of instances the time that goes with their state.

        Parameters
        ----------
        furthest_ms : int
            What is due later than that from now is due now.
        """
        pending = stages.c.state == StageState.PENDING.value
        with self._database.write() as work:
            ids = locked(work, instance_ids)
            for part in chunks(ids):
                mine = stages.c.instance_id.in_(part)
                never = or_(stages.c.due_at.is_(None), stages.c.due_at > work.now + furthest_ms)
                work.connection.execute(
                    update(stages).where(mine, pending, never).values(due_at=work.now, claim="", owner="")
                )
                work.connection.execute(
                    update(stages).where(mine, ~pending, stages.c.due_at.is_not(None)).values(due_at=None)
                )
            tell(work, ids, "its stages are due when they should be")
            return ids

    def redo_stage(self, instance_ids: Sequence[str], stage: Stage) -> list[str]:
        """Let a stage be done, again or for the first time: it was forgotten, or what it made is gone."""
        with self._database.write() as work:
            ids = locked(work, instance_ids)
            hosts: dict[str, str] = {}
            for part in chunks(ids):
                rows = work.connection.execute(
                    select(instances.c.id, instances.c.host).where(instances.c.id.in_(part))
                )
                hosts.update((row.id, row.host if stage is Stage.ARCHIVE else "") for row in rows)
            work.insert_missing(
                stages, [stage_row(key, stage, host, work.now) for key, host in hosts.items()]
            )
            for part in chunks(ids):
                work.connection.execute(
                    update(stages)
                    .where(stages.c.instance_id.in_(part), stages.c.stage == stage.value)
                    .values(
                        state=StageState.PENDING.value,
                        due_at=work.now,
                        claim="",
                        owner="",
                        attempts=0,
                        reason="",
                    )
                )
                if stage is Stage.ARCHIVE:
                    work.connection.execute(
                        update(instances).where(instances.c.id.in_(part)).values(archive_path="")
                    )
            tell(work, ids, f"stage {stage.value} is to be done")
            return ids

    def point_to_archive(self, paths: Mapping[str, str], *, release: bool) -> list[str]:
        """Let the archive's file be the file of instances, by id and relative path.

        Parameters
        ----------
        release : bool
            The spool item is gone or cannot be trusted: from now on the archive has the only copy.
        """
        with self._database.write() as work:
            ids = locked(work, list(paths))
            for key in ids:
                values: dict[str, object] = {"archive_path": paths[key]}
                if release:
                    values["released_at"] = func.coalesce(instances.c.released_at, work.now)
                work.connection.execute(update(instances).where(instances.c.id == key).values(**values))
            work.insert_missing(stages, [stage_row(key, Stage.FRAMES, "", work.now) for key in ids])
            for part in chunks(ids):
                work.connection.execute(
                    update(stages)
                    .where(stages.c.instance_id.in_(part), stages.c.stage == Stage.ARCHIVE.value)
                    .values(state=StageState.DONE.value, due_at=None, claim="", owner="", reason="")
                )
            tell(work, ids, "its bytes are those of the archive")
            return ids

    def take_back(self, instance_ids: Sequence[str]) -> list[str]:
        """Their spool items were given up and are there all the same, as the only whole copy: they are needed again."""
        with self._database.write() as work:
            ids = locked(work, instance_ids)
            for part in chunks(ids):
                work.connection.execute(
                    update(instances).where(instances.c.id.in_(part)).values(released_at=None)
                )
            tell(work, ids, "its spool item is needed again")
            return ids

    def list_as_lost(self, instance_ids: Sequence[str], reason: str) -> list[str]:
        """Nobody has their bytes: what was to be done with them is listed as needing attention and tried no more.

        One that was set aside is to go nowhere: its spool item counts as released.
        """
        with self._database.write() as work:
            ids = locked(work, instance_ids)
            for part in chunks(ids):
                work.connection.execute(
                    update(deliveries)
                    .where(deliveries.c.instance_id.in_(part), deliveries.c.state.in_(_GOES_ON))
                    .values(state=DeliveryState.REFUSED.value, reason=storable(reason), updated_at=work.now)
                )
                work.connection.execute(
                    update(stages)
                    .where(
                        stages.c.instance_id.in_(part),
                        stages.c.stage == Stage.ARCHIVE.value,
                        stages.c.state == StageState.PENDING.value,
                    )
                    .values(
                        state=StageState.NEEDS_ATTENTION.value,
                        due_at=None,
                        claim="",
                        owner="",
                        reason=storable(reason),
                        updated_at=work.now,
                    )
                )
                work.connection.execute(
                    update(instances)
                    .where(instances.c.id.in_(part), instances.c.state == InstanceState.SET_ASIDE.value)
                    .values(released_at=work.now)
                )
            tell(work, ids, "lost: " + reason)
            return ids

    def believe_records(self, rows: Sequence[Arrival]) -> list[str]:
        """Write what the records of spool items say over what their rows say: digest, size, place."""
        changed: list[str] = []
        with self._database.write() as work:
            for row in rows:
                changed += work.connection.execute(
                    update(instances)
                    .where(
                        instances.c.spool_id == row.spool_id,
                        instances.c.sop_instance_uid == storable(row.sop_instance_uid),
                    )
                    .values(
                        digest=row.digest,
                        data_set_bytes=row.data_set_bytes,
                        data_set_offset=row.data_set_offset,
                    )
                    .returning(instances.c.id)
                ).scalars()
            tell(work, changed, "what its record says was written over what the ledger said")
        return changed

    def adopt(self, found: Sequence[Archived]) -> int:
        """Take instances that only the archive has into the ledger, as archived and released; how many were new."""
        with self._database.write() as work:
            results = ingest.register(work, [each.arrival for each in found])
            new = [
                (each, result.instance_id)
                for each, result in zip(found, results, strict=True)
                if result.verdict is Verdict.NEW
            ]
            if new:
                _write_adopted(work, new)
            ids = [instance_id for _, instance_id in new]
            tell_rebuilt(work, ids, "known by the archive only: archived")
            return len(new)

    def tell_rebuilt(self, instance_ids: Sequence[str]) -> None:
        """Say of instances that were registered from the spool that it was repair that did it."""
        with self._database.write() as work:
            tell_rebuilt(work, instance_ids, "registered from the spool")

    def tell_closed(self, destination: str, instance_ids: Sequence[str], words: str) -> None:
        """Say of instances that they are not sent to a destination, on somebody's word."""
        with self._database.write() as work:
            of = studies_of(work, instance_ids)
            evidence_chain.append(
                work,
                [
                    Fact(
                        FactKind.CLOSED,
                        of[key],
                        instance_id=key,
                        destination=destination,
                        detail={"words": words},
                    )
                    for key in instance_ids
                    if key in of
                ],
            )


def _let_ask(work: Work, transfer: AnyRow) -> bool:
    """Make the open verification of a transfer due, or another one, where something waits for it."""
    waits = deliveries.c.transfer_id == transfer.id, deliveries.c.verification == Verified.PENDING.value
    if work.connection.execute(select(deliveries.c.instance_id).where(*waits).limit(1)).first() is None:
        return False
    last = verification_opening.latest(work, transfer.id)
    if last is not None and last.state in verification_opening.OPEN:
        work.connection.execute(
            update(verifications)
            .where(verifications.c.id == last.id, verifications.c.due_at.is_(None))
            .values(due_at=work.now)
        )
        return bool(last.due_at is None)
    method = work.connection.execute(
        select(destinations.c.verification).where(destinations.c.name == transfer.destination)
    ).scalar_one()
    if method == "none":
        verification_verbs.take_its_word(work, transfer)
    else:
        verification_opening.open_one(work, transfer, method=method)
    return True


def _write_adopted(work: Work, new: Sequence[tuple[Archived, str]]) -> None:
    work.connection.execute(
        update(instances)
        .where(instances.c.id == bindparam("key"), instances.c.state == InstanceState.KEPT.value)
        .values(released_at=work.now),
        [{"key": key, "archive_path": each.archive_path, "frames": each.frames} for each, key in new],
    )
    done = {"state": StageState.DONE.value, "due_at": None}
    ids = [key for _, key in new]
    for part in chunks(ids):
        work.connection.execute(
            update(stages)
            .where(stages.c.instance_id.in_(part), stages.c.stage == Stage.ARCHIVE.value)
            .values(**done)
        )
    work.insert_missing(
        stages,
        [
            {**stage_row(key, Stage.FRAMES, "", work.now), **(done if each.frames is not None else {})}
            for each, key in new
        ],
    )
