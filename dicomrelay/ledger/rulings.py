"""Rules and their decisions: the facade over decisions.py (docs/design/rules.md)."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy import func, insert, select

from dicomrelay.ledger import decisions as rows_of
from dicomrelay.ledger.decisions_schema import OF_MANY, decisions, rule_activations, rule_versions
from dicomrelay.ledger.engine import Database, chunks
from dicomrelay.ledger.grouping import CompletionPolicy
from dicomrelay.ledger.schema import UNDECIDED, studies
from dicomrelay.ledger.values_decisions import (
    Activation,
    DecisionRow,
    InstanceDecision,
    LaterDecision,
    Level,
    RuleVersion,
)


class Rulings:
    """One transaction a call; raises ServiceUnavailable as `Ledger` does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def know_version(self, version: str, body: str, origin: str) -> None:
        """Keep the text of a version, where it is not known."""
        self._database.transact(lambda work: rows_of.know_versions(work, [(version, body, origin)]))

    def versions(self) -> list[RuleVersion]:
        """All that are known, the newest first, with how much each decided."""
        counted = (
            select(decisions.c.version, func.count().label("number"), func.max(decisions.c.at).label("last"))
            .group_by(decisions.c.version)
            .subquery()
        )
        query = (
            select(rule_versions, counted.c.number, counted.c.last)
            .outerjoin(counted, counted.c.version == rule_versions.c.version)
            .order_by(rule_versions.c.first_at.desc(), rule_versions.c.version)
        )
        with self._database.read() as work:
            return [
                RuleVersion(row.version, row.body, row.origin, row.first_at, row.number or 0, row.last)
                for row in work.connection.execute(query)
            ]

    def to_decide(self, policy: CompletionPolicy, *, limit: int) -> list[str]:
        """Studies that are complete, and whose rules of series or studies are to be asked: a read."""
        with self._database.read() as work:
            return rows_of.to_decide(work, policy, limit)

    def of_instances(self, study_instance_uids: Sequence[str]) -> list[InstanceDecision]:
        """The last decision of each instance of these studies; none of what a person sent somewhere."""
        with self._database.read() as work:
            return rows_of.of_instances(work, study_instance_uids)

    def of_later(self, study_instance_uids: Sequence[str]) -> list[DecisionRow]:
        """Of these studies and their series the last decision of each; the oldest first."""
        found: dict[str, DecisionRow] = {}
        with self._database.read() as work:
            for part in chunks(study_instance_uids):
                query = (
                    select(decisions)
                    .where(decisions.c.study_instance_uid.in_(part), OF_MANY)
                    .order_by(decisions.c.id)
                )
                found.update((row.subject, rows_of.decision(row)) for row in work.connection.execute(query))
        return sorted(found.values(), key=lambda each: each.number)

    def about(self, subjects: Sequence[str]) -> list[DecisionRow]:
        """Every decision about these: ids of instances, UIDs of series and studies; the oldest first."""
        with self._database.read() as work:
            return list(rows_of.about(work, subjects))

    def apply(self, study_instance_uid: str, later: Sequence[LaterDecision], *, latest: int) -> int | None:
        """Write what rules of series and studies said, and the deliveries that are not there yet.

        Parameters
        ----------
        latest : int
            The highest number of the decisions of its instances that were looked at.

        Returns
        -------
        int or None
            How many deliveries were made; None when something came meanwhile: look again, nothing was written.
        """
        return self._database.transact(
            lambda work: rows_of.apply(work, study_instance_uid, later, latest=latest)
        )

    def renditions(self, instance_ids: Sequence[str]) -> dict[str, list[str]]:
        """What rules have made of instances; those of which they have nothing made are left out."""
        found: dict[str, list[str]] = {}
        for each in self.about(instance_ids):
            if each.level is Level.INSTANCE:
                found[each.subject] = json.loads(each.decided.outcome).get("renditions", [])
        return {instance_id: made for instance_id, made in found.items() if made}

    def studies_since(self, age_ms: int, *, after: str, limit: int) -> list[str]:
        """Study Instance UIDs, in order behind `after`, of which something was decided since so long ago, and nothing is to be
        decided yet."""
        undecided = select(studies.c.study_instance_uid).where(UNDECIDED)
        with self._database.read() as work:
            query = (
                select(decisions.c.study_instance_uid)
                .where(
                    decisions.c.at >= work.now - age_ms,
                    decisions.c.study_instance_uid > after,
                    decisions.c.study_instance_uid.not_in(undecided),
                )
                .distinct()
                .order_by(decisions.c.study_instance_uid)
                .limit(limit)
            )
            return list(work.connection.execute(query).scalars())

    def activated(self, *, version: str, previous: str, changed: int, of: int, forced: bool) -> None:
        """Somebody put a version in force, knowing that so many of so many decisions would have been others."""
        self._database.transact(
            lambda work: work.connection.execute(
                insert(rule_activations).values(
                    at=work.now,
                    version=version,
                    previous=previous,
                    changed=changed,
                    decisions=of,
                    forced=forced,
                )
            )
        )

    def activations(self) -> list[Activation]:
        """All of them, the newest first."""
        query = select(rule_activations).order_by(rule_activations.c.id.desc())
        with self._database.read() as work:
            return [
                Activation(row.at, row.version, row.previous, row.changed, row.decisions, row.forced)
                for row in work.connection.execute(query)
            ]
