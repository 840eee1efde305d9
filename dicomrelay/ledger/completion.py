"""When studies are complete: the facade over waits and grouping (docs/design/completion.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select, update

from dicomrelay.ledger import grouping, waits
from dicomrelay.ledger.engine import Database, Work
from dicomrelay.ledger.grouping import CompletionPolicy, Made
from dicomrelay.ledger.schema import studies

__all__ = ["Completion", "CompletionPolicy", "Made", "ToAsk"]


@dataclass(frozen=True, slots=True)
class ToAsk:
    """A study that waits, and who may know how many instances it has: AET@host:port, or the name of a destination."""

    study_instance_uid: str
    count_at: str


class Completion:
    """One transaction a call; raises ServiceUnavailable as `Ledger` does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def complete(self, policy: CompletionPolicy, *, limit: int) -> Made:
        """Make transfers of all that waits in studies that are complete.

        Parameters
        ----------
        limit : int
            Studies that one call takes. Call again while it makes some.
        """
        return self._database.transact(lambda work: grouping.complete(work, policy, limit=limit))

    def any_complete(self, policy: CompletionPolicy) -> bool:
        """Whether `complete` would find a study: a read that an index answers."""
        with self._database.read() as work:
            return grouping.any_complete(work, policy)

    def worth_a_cut(self, policy: CompletionPolicy, *, older_than_ms: int, limit: int) -> list[str]:
        """Study Instance UIDs of those that `cut` would make a transfer of: a read.

        What came while its destination had enough before it is worth one once that is done.

        Parameters
        ----------
        older_than_ms : int
            Nothing came for them in so long: who registers what comes cuts by himself.
        limit : int
            Studies that are looked at, those that have waited longest.
        """
        with self._database.read() as work:
            return grouping.worth_a_cut(work, policy, older_than_ms=older_than_ms, limit=limit)

    def cut(self, policy: CompletionPolicy, study_instance_uids: Sequence[str]) -> Made:
        """Make transfers of what fills them in these studies, complete or not. The rest goes on waiting."""
        return self._database.transact(lambda work: grouping.cut(work, policy, study_instance_uids))

    def association_ended(self, association_ids: Sequence[str]) -> int:
        """Nothing more comes over these associations; how many studies that leaves without a sender.

        A hint and no more: what it says may be said twice, too late, before the instances are registered, or never.
        """
        return self._database.transact(lambda work: waits.association_ended(work, association_ids))

    def to_ask(self, *, limit: int, again_in_ms: int) -> list[ToAsk]:
        """Take studies that wait and whose source may be asked now; it may be asked again after so long."""
        columns = studies.c

        def take(work: Work) -> list[ToAsk]:
            found = [
                ToAsk(uid, count_at)
                for uid, count_at in work.connection.execute(
                    select(columns.study_instance_uid, columns.count_at)
                    .where(columns.ungrouped_at <= work.now, columns.ask_at <= work.now)
                    .order_by(columns.ungrouped_at)
                    .limit(limit)
                    .with_for_update(skip_locked=True, key_share=True)
                )
            ]
            work.connection.execute(
                update(studies)
                .where(columns.study_instance_uid.in_([each.study_instance_uid for each in found]))
                .values(ask_at=work.now + again_in_ms)
            )
            return found

        return self._database.transact(take)

    def expect(self, study_instance_uid: str, instances: int) -> None:
        """Somebody said that a study which waits has so many instances, 1 or more."""
        self._database.transact(
            lambda work: work.connection.execute(
                update(studies)
                .where(
                    studies.c.study_instance_uid == study_instance_uid,
                    studies.c.ungrouped_at.is_not(None),
                )
                .values(expected_instances=instances)
            )
        )
