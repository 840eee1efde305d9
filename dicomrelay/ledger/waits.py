"""What a study waits for: when something last came, from whom, and whether they still send (docs/design/completion.md)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.sql.expression import bindparam

from dicomrelay.ledger.engine import Work, chunks
from dicomrelay.ledger.judgement import Batch
from dicomrelay.ledger.schema import ended_associations, studies
from dicomrelay.ledger.values import InstanceState

# An association that nobody will say of that it ended.
ENDLESS: Final = "-"
# So many are kept apart in one study; with more of them only the quiet time counts.
MOST_SENDERS: Final = 16
FIRST_ASKED_MS: Final = 10_000
# The message of an end overtakes the registration by as long as that takes, and that is long when much has arrived.
REMEMBERED_MS: Final = 600_000
# What a study is when nothing of it waits.
NOTHING_WAITS: Final[Mapping[str, object]] = {
    "ungrouped_at": None,
    "quiet_ms": None,
    "senders": "",
    "association_ended_at": None,
    "expected_instances": None,
    "count_at": "",
    "ask_at": None,
}


@dataclass(slots=True)
class _News:
    """What a batch brings to one study."""

    waits: bool = False
    undecided: bool = False
    quiet_ms: int | None = None
    count_at: str = ""
    senders: set[str] = field(default_factory=set)


def write_studies(work: Work, batch: Batch) -> None:
    """Write the studies of a batch, in the order of their UIDs. Called by `register` only, which is alone."""
    news: dict[str, _News] = {}
    for arrival, entry, verdict in batch.judged:
        if verdict.value == "known":
            continue
        study = news.setdefault(entry.study_instance_uid, _News())
        asked_later = arrival.undecided and entry.state is InstanceState.KEPT
        study.undecided |= asked_later
        if entry.added or asked_later:
            study.waits = True
            study.quiet_ms, study.count_at = arrival.quiet_ms, arrival.count_at
            study.senders.add(arrival.association_id or ENDLESS)
    waiting = {uid: study for uid, study in news.items() if study.waits}
    before = _senders(work, sorted(waiting))
    ended = _ended(work, sorted(set().union(*(study.senders for study in waiting.values()))))
    rows = []
    for uid, study in sorted(news.items()):
        senders = merged(before.get(uid, ""), study.senders - ended) if study.waits else ""
        rows.append(
            {
                "study_instance_uid": uid,
                "first_received_at": work.now,
                "last_received_at": work.now,
                "ungrouped_at": work.now if study.waits else None,
                "quiet_ms": study.quiet_ms,
                "senders": senders,
                "association_ended_at": work.now if study.waits and not senders else None,
                "count_at": study.count_at,
                "ask_at": work.now + FIRST_ASKED_MS if study.count_at else None,
                "undecided": study.undecided,
            }
        )
    _upsert(work, [row for row in rows if row["ungrouped_at"] is None], wait=False)
    _upsert(work, [row for row in rows if row["ungrouped_at"] is not None], wait=True)


def locked(work: Work, study_uids: Iterable[str]) -> None:
    """Take studies in the order of their UIDs, before it is looked at or written whether something of them waits.

    Who makes transfers of a study ends its waiting when he is through: an update that leaves out what waits already would pass
    by without a word, and what it was for would wait for ever.
    """
    for part in chunks(sorted(set(study_uids))):
        work.connection.execute(
            select(studies.c.study_instance_uid)
            .where(studies.c.study_instance_uid.in_(part))
            .order_by(studies.c.study_instance_uid)
            .with_for_update(key_share=True)
        )


def _upsert(work: Work, rows: Sequence[Mapping[str, object]], *, wait: bool) -> None:
    """A study that waits already is asked about when it was to be; one that gets nothing new waits as it did."""
    if not rows:
        return
    upsert = work.insert(studies)
    changed: dict[str, Any] = {"last_received_at": upsert.excluded.last_received_at}
    if wait:
        for name in ("ungrouped_at", "quiet_ms", "senders", "association_ended_at", "count_at"):
            changed[name] = upsert.excluded[name]
        changed["ask_at"] = func.coalesce(studies.c.ask_at, upsert.excluded.ask_at)
        changed["undecided"] = or_(studies.c.undecided, upsert.excluded.undecided)
    work.connection.execute(
        upsert.on_conflict_do_update(index_elements=[studies.c.study_instance_uid], set_=changed), rows
    )


def merged(senders: str, more: Iterable[str]) -> str:
    """Senders as they are kept, with others; too many are one that never ends."""
    both = sorted({*senders.split(), *more})
    return " ".join(both) if len(both) <= MOST_SENDERS else ENDLESS


def _senders(work: Work, study_uids: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in chunks(study_uids):
        query = select(studies.c.study_instance_uid, studies.c.senders)
        found.update(
            (uid, text)
            for uid, text in work.connection.execute(query.where(studies.c.study_instance_uid.in_(part)))
        )
    return found


def _ended(work: Work, association_ids: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for part in chunks(association_ids):
        query = select(ended_associations.c.id).where(ended_associations.c.id.in_(part))
        found.update(work.connection.execute(query).scalars())
    return found


def association_ended(work: Work, association_ids: Sequence[str]) -> int:
    """These send no more; how many studies have no sender left now. See `Completion.association_ended`."""
    work.exclusive("register")
    work.insert_missing(
        ended_associations, [{"id": each, "at": work.now} for each in sorted(set(association_ids))]
    )
    work.connection.execute(
        delete(ended_associations).where(ended_associations.c.at < work.now - REMEMBERED_MS)
    )
    gone = set(association_ids)
    waiting = work.connection.execute(
        select(studies.c.study_instance_uid, studies.c.senders).where(
            studies.c.ungrouped_at <= work.now, studies.c.senders != ""
        )
    )
    changed = {
        uid: " ".join(sender for sender in senders.split() if sender not in gone)
        for uid, senders in waiting
        if not gone.isdisjoint(senders.split())
    }
    if changed:
        work.connection.execute(
            # Not of those that were made into transfers meanwhile: they wait for nobody.
            update(studies).where(
                studies.c.study_instance_uid == bindparam("key"), studies.c.ungrouped_at.is_not(None)
            ),
            [
                {
                    "key": uid,
                    "senders": senders,
                    "association_ended_at": None if senders else work.now,
                }
                for uid, senders in sorted(changed.items())
            ],
        )
    return sum(not senders for senders in changed.values())
