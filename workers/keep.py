"""The stages inside the house: into the archive, its frames, and out of the spool."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from archive import Archive, StoreOutcome, StoreRequest, StoreResult
from dicomrelay import metrics, traces
from dicomrelay.errors import ArchiveError, RelayError, ServiceUnavailable
from dicomrelay.ledger.values import InstanceFacts, Stage, StageItem, StageResult
from dicomrelay.log import get_logger
from dicomrelay.metrics.catalogue import STAGE_INSTANCES, STAGE_SECONDS
from dicomrelay.routing import retry_delay_s
from workers.complete import say
from workers.lease import LEASE_MS, LeaseKeeper
from workers.locating import locate, verified
from workers.renditions import make_by_rule
from workers.rooms import Rooms

_log = get_logger("dicomrelay.keep")
# Copying a batch of large instances takes its time; nobody works on one for longer than this.
_PATIENCE_S = 600.0
_ATTEMPTS = 20
_RETRY_INITIAL_S, _RETRY_MAX_S = 2.0, 300.0
_AWAY_MAX_S = 60.0
_SAID_AT_ONCE = 32


def archive_batch(rooms: Rooms) -> int:
    """Archive one batch; how many instances it was."""
    studies: set[str] = set()

    def store(items: Sequence[StageItem]) -> list[StageResult]:
        studies.update(item.instance.study_instance_uid for item in items)
        return _archive_all(rooms, items)

    count = _batch(rooms, Stage.ARCHIVE, "archived", store)
    if rooms.reads_as and studies:
        # Until now it was this host's to send; from now on it is anybody's.
        say(rooms, rooms.ledger.flow.readable_anywhere(sorted(studies), limit=_SAID_AT_ONCE))
    return count


def frames_batch(rooms: Rooms) -> int:
    """Prepare the frames of one batch, and what the rules have made of it; how many instances it was."""
    indexed: list[InstanceFacts] = []

    def prepare(items: Sequence[StageItem]) -> list[StageResult]:
        results = [_prepare(rooms.archive, item) for item in items]
        indexed.extend(
            item.instance
            for item, result in zip(items, results, strict=True)
            if result.done and result.frames
        )
        return results

    count = _batch(rooms, Stage.FRAMES, "frames prepared", prepare)
    # After the stage is done: no instance waits for a picture, nor is counted as failed for want of one.
    make_by_rule(rooms, indexed)
    return count


def _batch(
    rooms: Rooms, stage: Stage, what: str, work: Callable[[Sequence[StageItem]], list[StageResult]]
) -> int:
    claim = rooms.ledger.claim_instances(
        stage,
        host=rooms.host,
        owner=rooms.owner,
        limit=rooms.settings.worker.batch_instances,
        lease_ms=LEASE_MS,
    )
    if claim is None:
        return 0
    began = time.monotonic()
    with LeaseKeeper(lambda: rooms.ledger.renew_stage(claim, lease_ms=LEASE_MS), patience_s=_PATIENCE_S):
        results = work(claim.items)
    rooms.ledger.finish_stage(claim, results)
    _report(what, results)
    _count(stage, results, time.monotonic() - began)
    _trace(stage, claim.items, results, time.monotonic() - began)
    return len(claim.items)


def _archive_all(rooms: Rooms, items: Sequence[StageItem]) -> list[StageResult]:
    results = []
    found: list[tuple[StageItem, StoreRequest]] = []
    for item in items:
        try:
            # A user's file is copied, and the copy held against the digest; ours is linked, and looked at before.
            find = locate if item.instance.source_path else verified
            found.append((item, _request(item.instance, find(rooms, item.instance))))
        except RelayError as error:
            results.append(_failed(item, str(error), retryable=error.retryable))
        except OSError as error:
            results.append(_failed(item, f"the bytes cannot be read now: {error.strerror}", retryable=True))
    try:
        stored = rooms.archive.store([request for _, request in found])
    except ServiceUnavailable as error:
        return results + [_later(item, error) for item, _ in found]
    return results + [_archived(item, result) for (item, _), result in zip(found, stored, strict=True)]


def release_batch(rooms: Rooms) -> int:
    """Remove from the spool what has arrived everywhere; how many items it was."""
    ids = rooms.ledger.releasable(
        host=rooms.host,
        limit=rooms.settings.worker.batch_instances,
        keep_ms=rooms.settings.retention.spool_ms,
    )
    if ids:
        # Marked first: an item that has just got a new delivery is not, and stays. What a crash leaves between the
        # two is found by `reconcile` at the next start.
        rooms.spool.remove(rooms.ledger.mark_released(ids))
    return len(ids)


def _request(facts: InstanceFacts, source: Path) -> StoreRequest:
    return StoreRequest(
        source=source,
        data_set_offset=facts.data_set_offset,
        data_set_bytes=facts.data_set_bytes,
        digest=facts.digest,
        sop_class_uid=facts.sop_class_uid,
        sop_instance_uid=facts.sop_instance_uid,
        study_instance_uid=facts.study_instance_uid,
        series_instance_uid=facts.series_instance_uid,
        transfer_syntax_uid=facts.transfer_syntax_uid,
        modality=facts.modality,
        # A file that is read where it lies belongs to somebody who may write to it: never share its bytes.
        may_link=not facts.source_path,
    )


def _archived(item: StageItem, result: StoreResult) -> StageResult:
    if result.outcome in (StoreOutcome.STORED, StoreOutcome.ALREADY_THERE, StoreOutcome.REPLACED):
        return StageResult(item.instance.instance_id, done=True, archive_path=result.relative_path)
    return _failed(item, result.reason, retryable=result.outcome is StoreOutcome.FAILED)


def _prepare(archive: Archive, item: StageItem) -> StageResult:
    try:
        summary = archive.prepare_frames(item.instance.archive_path)
    except RelayError as error:
        # A plain ArchiveError is the file system's or the index's trouble; its kinds are about the instance.
        return _failed(item, str(error), retryable=error.retryable or type(error) is ArchiveError)
    except OSError as error:
        return _failed(item, f"frames cannot be indexed now: {error.strerror}", retryable=True)
    return StageResult(item.instance.instance_id, done=True, frames=summary.count, reason=summary.reason)


def _failed(item: StageItem, reason: str, *, retryable: bool) -> StageResult:
    retry_in_ms = None
    if retryable and item.attempt < _ATTEMPTS:
        retry_in_ms = round(1000 * retry_delay_s(item.attempt, _RETRY_INITIAL_S, _RETRY_MAX_S, 0.5))
    return StageResult(item.instance.instance_id, done=False, reason=reason, retry_in_ms=retry_in_ms)


def _later(item: StageItem, error: ServiceUnavailable) -> StageResult:
    """The storage or the index is away, and it is no fault of the instance: tried again for as long as that takes."""
    retry_in_ms = round(1000 * retry_delay_s(item.attempt, _RETRY_INITIAL_S, _AWAY_MAX_S, 0.5))
    return StageResult(item.instance.instance_id, done=False, reason=str(error), retry_in_ms=retry_in_ms)


def _count(stage: Stage, results: Sequence[StageResult], seconds: float) -> None:
    done = sum(result.done for result in results)
    metrics.observe(STAGE_SECONDS, seconds, stage.value)
    for outcome, count in (("done", done), ("failed", len(results) - done)):
        if count:
            metrics.add(STAGE_INSTANCES, stage.value, outcome, by=count)


def _trace(stage: Stage, items: Sequence[StageItem], results: Sequence[StageResult], seconds: float) -> None:
    failed = {result.instance_id for result in results if not result.done}
    for item in items:
        facts = item.instance
        if traces.is_traced(facts.spool_id):
            traces.span(
                facts.spool_id,
                stage.value,
                seconds,
                {"dicomrelay.attempt": item.attempt},
                attempt=item.attempt,
                failed=facts.instance_id in failed,
            )


def _report(what: str, results: list[StageResult]) -> None:
    failed = [result for result in results if not result.done]
    _log.info(what, instances=len(results) - len(failed), failed=len(failed))
    for result in failed:
        # The reason may hold a path in the archive, and that the id of a patient: the ledger keeps it.
        _log.warning(f"not {what}, `dicomrelay status` says why", instance_id=result.instance_id)
