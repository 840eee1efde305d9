"""Takes what arrived in the spool into the ledger, with where it is to go.

The spool item is the record and stays what it is; this only makes it known. Run twice, or killed anywhere, it does no
harm: the ledger knows a spool item by its id.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from dicomrelay import metrics, traces
from dicomrelay.errors import ServiceUnavailable
from dicomrelay.ledger.values import Arrival, Registered, Verdict
from dicomrelay.log import get_logger
from dicomrelay.metrics.catalogue import GROUPED
from dicomrelay.net.callers import Callers
from dicomrelay.routing import ad_hoc
from dicomrelay.spool import SpoolRecord
from workers import complete, prefetching
from workers.asking import Asked, ask, is_archived
from workers.batches import paced
from workers.copies import sort_copies
from workers.rooms import Rooms

_log = get_logger("dicomrelay.group")
# One task is bounded: after so many batches it says that there is more, and another task goes on.
_BATCHES = 25
_FEW = 100


def _nothing() -> None:
    """Nobody wants to know."""


@dataclass(slots=True)
class Grouped:
    """What a run did; `more` when it stopped at its bound."""

    verdicts: Counter[Verdict] = field(default_factory=Counter)
    more: bool = False


def group_arrivals(rooms: Rooms, *, each: Callable[[], None] = _nothing, pause_s: float = 0.0) -> Grouped:
    """Register what lies in the spool's `new/`, batch by batch, until it is empty or the bound is reached.

    What fills a transfer goes on at once. A second runner on the same spool finds the lock and stops; the first one, or
    the sweeper, sees what is left.

    Parameters
    ----------
    each : callable
        Called after each batch.
    pause_s : float
        A batch of few instances is followed by the next no sooner than so long after it began: a transaction for each of
        those that arrive one by one costs more than the instances.
    """
    done = Grouped()
    with _only_runner(rooms) as alone:
        if not alone:
            return done
        taken = 0
        for records in rooms.spool.arrival_batches(rooms.settings.worker.batch_instances):
            if taken == _BATCHES:
                done.more = True
                break
            known = done.verdicts.total()
            paced(partial(_take, rooms, records, done, each), few=_FEW, pause_s=pause_s)
            # A batch of which nothing can be read now takes nobody's turn.
            taken += done.verdicts.total() > known
    if done.verdicts:
        _log.info("grouped", **{verdict.value: count for verdict, count in done.verdicts.items()})
    return done


def _take(rooms: Rooms, records: Sequence[SpoolRecord], done: Grouped, each: Callable[[], None]) -> int:
    began = time.monotonic()
    verdicts = Counter(result.verdict for result in register(rooms, records))
    for record in filter(lambda record: traces.is_traced(record.id), records):
        traces.span(record.id, "group", time.monotonic() - began, {"dicomrelay.instances": len(records)})
    done.verdicts.update(verdicts)
    for verdict, count in verdicts.items():
        metrics.add(GROUPED, verdict.value, by=count)
    complete.cut_and_say(rooms, sorted({record.study_instance_uid for record in records}))
    each()
    return len(records)


def register(
    rooms: Rooms, records: Sequence[SpoolRecord], *, without: Collection[str] = ()
) -> list[Registered]:
    """One batch: ledger first, then the spool items go to where they belong from now on.

    What rules ask about and cannot be read now stays where it is, unknown to the ledger and not among what is returned: it
    is asked about again.

    Parameters
    ----------
    without : collection of str
        Destinations that get nothing of it, whatever rules or jobs say: somebody knows that they have it.
    """
    asked = _asked(rooms, records)
    records = [record for record in records if record.id in asked]
    if not records:
        return []
    _sync_ad_hoc(rooms, records)
    taken = _taken_uids(rooms, records)
    callers = Callers(rooms.settings.peers)
    results = rooms.ledger.register(
        [
            _arrival(rooms, record, asked[record.id], callers, aside=record.id in taken, without=without)
            for record in records
        ]
    )
    prefetching.of_arrivals(
        rooms,
        [
            (record, asked[record.id])
            for record, result in zip(records, results, strict=True)
            if result.verdict is Verdict.NEW
        ],
    )
    aside = [r.spool_id for r in results if r.verdict is Verdict.CONFLICT]
    ours = [
        r.spool_id for r in results if r.spool_id == r.kept_spool_id and r.verdict is not Verdict.CONFLICT
    ]
    copies = [r for r in results if r.spool_id != r.kept_spool_id and r.verdict is not Verdict.CONFLICT]
    judged = sort_copies(rooms, records, copies)
    rooms.spool.settle([*ours, *judged.needed])
    rooms.spool.set_aside(aside)
    rooms.spool.remove(judged.spare)
    for spool_id in aside:
        _log.warning("set aside: same SOP Instance UID, other bytes", spool_id=spool_id)
    return results


def _asked(rooms: Rooms, records: Sequence[SpoolRecord]) -> dict[str, Asked]:
    """What the rules say of each item, by its id, but of those that cannot be read now."""
    rules = rooms.rules()
    found: dict[str, Asked] = {}
    for record in records:
        if rooms.unread_items.is_put_off(record.id):
            continue
        try:
            found[record.id] = ask(rooms, rules, record)
        except ServiceUnavailable as error:
            if rooms.unread_items.put_off(record.id):
                _log.warning(
                    "not decided yet: the rules ask for what is in it, and it cannot be read now",
                    action="rules.undecided",
                    spool_id=record.id,
                    reason=str(error),
                )
        else:
            rooms.unread_items.done(record.id)
    return found


def _taken_uids(rooms: Rooms, records: Sequence[SpoolRecord]) -> set[str]:
    """The items that have other bytes than what the house holds under their SOP Instance UID, whatever the ledger knows.

    A ledger that was lost forgets them; where they lie in the spool, and the archive's index, do not.
    """
    aside = {record.id for record in records if rooms.spool.is_aside(record.id)}
    try:
        held = rooms.archive.digests([record.sop_instance_uid for record in records])
    except ServiceUnavailable:  # then the archive itself will say so, when it is to take it
        return aside
    return aside | {r.id for r in records if held.get(r.sop_instance_uid, r.digest) != r.digest}


def _arrival(
    rooms: Rooms,
    record: SpoolRecord,
    asked: Asked,
    callers: Callers,
    *,
    aside: bool,
    without: Collection[str],
) -> Arrival:
    settings = rooms.settings
    origin = record.provenance
    # What a job submits is complete when the job says so.
    found = None if origin.job_id else callers.find(origin.calling_ae_title, origin.peer_address)
    source = None if found is None else found[1]
    # What a person named goes there by that person's word, and as urgently as the rules say.
    by_rules = not record.send_to
    decision = asked.decision
    destinations = record.send_to or decision.destinations
    return Arrival(
        spool_id=record.id,
        host=rooms.host,
        sop_class_uid=record.sop_class_uid,
        sop_instance_uid=record.sop_instance_uid,
        study_instance_uid=record.study_instance_uid,
        series_instance_uid=record.series_instance_uid,
        transfer_syntax_uid=record.transfer_syntax_uid,
        modality=record.modality,
        data_set_offset=record.data_set_offset,
        data_set_bytes=record.data_set_bytes,
        digest=record.digest,
        calling_ae_title=origin.calling_ae_title,
        called_ae_title=origin.called_ae_title,
        peer_address=origin.peer_address,
        association_id=origin.association_id,
        received_at_ms=origin.received_at_ms,
        source_path=record.source_path,
        destinations=tuple(name for name in destinations if name not in without),
        priority=decision.priority,
        archive=is_archived(settings, decision if by_rules else None),
        job_id=origin.job_id,
        quiet_ms=None
        if source is None or source.quiet_seconds is None
        else round(1000 * source.quiet_seconds),
        count_at="" if source is None or source.count_at is None else source.count_at,
        rules=asked.decided.rules if by_rules else "",
        rules_version=asked.decided.version if by_rules else "",
        terms=decision.terms if by_rules else asked.named,
        decided=asked.decided if by_rules else None,
        undecided=asked.undecided and by_rules,
        aside=aside,
        protocol=origin.protocol,
        user=origin.user,
    )


def _sync_ad_hoc(rooms: Rooms, records: Sequence[SpoolRecord]) -> None:
    """Make known the addresses that a job named by themselves, so that any worker finds them."""
    named = {name for record in records for name in record.send_to if "@" in name}
    if named:
        rooms.ledger.sync_destinations([ad_hoc(name).info() for name in sorted(named)])


@contextmanager
def _only_runner(rooms: Rooms) -> Iterator[bool]:
    """Whether we are the only one at this spool; the kernel frees the lock when the process ends."""
    fd = os.open(rooms.settings.path("spool", "group.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(fd)
