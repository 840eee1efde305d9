"""What rules decided: written as instances are registered and as studies become complete, and read again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from sqlalchemy import Select, delete, func, insert, select, update

from dicomrelay.ledger import delivery_counts, destinations, evidence_chain, waits
from dicomrelay.ledger.decisions_schema import decisions, rule_versions
from dicomrelay.ledger.engine import AnyRow, Work, chunks
from dicomrelay.ledger.evidence_chain import Fact, FactKind
from dicomrelay.ledger.facts import instance_facts
from dicomrelay.ledger.grouping import CompletionPolicy, is_complete
from dicomrelay.ledger.judgement import Batch
from dicomrelay.ledger.new_rows import delivery_row
from dicomrelay.ledger.schema import UNDECIDED, deliveries, instances, studies
from dicomrelay.ledger.values import InstanceState, Priority, Verdict
from dicomrelay.ledger.values_decisions import (
    Decided,
    DecisionRow,
    InstanceDecision,
    LaterDecision,
    Level,
)

_INSTANCE: Final = Level.INSTANCE.value


def of_arrivals(work: Work, batch: Batch) -> None:
    """One of each arrival that rules were asked about and that is not set aside."""
    rows = [
        _values(Level.INSTANCE, entry.id, entry.study_instance_uid, arrival.job_id, arrival.decided, work.now)
        for arrival, entry, verdict in batch.judged
        if arrival.decided is not None
        and verdict in (Verdict.NEW, Verdict.DUPLICATE)
        and entry.state is InstanceState.KEPT
    ]
    if rows:
        _know(work, (arrival.decided for arrival, _, _ in batch.judged if arrival.decided is not None))
        work.connection.execute(insert(decisions), rows)


def _know(work: Work, decided: Iterable[Decided]) -> None:
    """Keep the texts of versions: with the decision, for a ledger may be another than it was a moment ago."""
    bodies = {each.version: (each.body, each.origin) for each in decided if each.body}
    know_versions(work, [(version, body, origin) for version, (body, origin) in sorted(bodies.items())])


def know_versions(work: Work, versions: Sequence[tuple[str, str, str]]) -> None:
    """Versions, each with its text and where it was read from, where they are not known."""
    rows = [
        {"version": version, "body": body, "origin": origin, "first_at": work.now}
        for version, body, origin in versions
    ]
    work.insert_missing(rule_versions, rows)


def _values(
    level: Level, subject: str, study: str, job_id: str, decided: Decided, now: int
) -> dict[str, Any]:
    return {
        "at": now,
        "level": level.value,
        "subject": subject,
        "study_instance_uid": study,
        "job_id": job_id,
        "version": decided.version,
        "rules": decided.rules,
        "inputs": decided.inputs,
        "outcome": decided.outcome,
    }


def to_decide(work: Work, policy: CompletionPolicy, limit: int) -> list[str]:
    """See `Rulings.to_decide`."""
    query = (
        select(studies.c.study_instance_uid)
        .where(*is_complete(work, policy), studies.c.undecided)
        .order_by(studies.c.ungrouped_at)
        .limit(limit)
    )
    return list(work.connection.execute(query).scalars())


def of_instances(work: Work, study_uids: Sequence[str]) -> list[InstanceDecision]:
    """The last decision of each instance that is kept of these studies."""
    found: list[InstanceDecision] = []
    for part in chunks(study_uids):
        latest = (
            select(func.max(decisions.c.id))
            .where(decisions.c.subject == instances.c.id, decisions.c.level == _INSTANCE)
            .correlate(instances)
            .scalar_subquery()
        )
        query = (
            select(instances, *_labelled())
            .join(decisions, decisions.c.id == latest)
            .where(instances.c.study_instance_uid.in_(part), instances.c.state == InstanceState.KEPT.value)
            .order_by(instances.c.id)
        )
        found.extend(_instance(row) for row in work.connection.execute(query))
    return found


def _labelled() -> list[Any]:
    return [column.label(f"decision_{column.name}") for column in decisions.c]


def _instance(row: AnyRow) -> InstanceDecision:
    return InstanceDecision(
        facts=instance_facts(row),
        calling_ae_title=row.calling_ae_title,
        called_ae_title=row.called_ae_title,
        peer_address=row.peer_address,
        row=DecisionRow(
            number=row.decision_id,
            at=row.decision_at,
            level=Level(row.decision_level),
            subject=row.decision_subject,
            study_instance_uid=row.decision_study_instance_uid,
            job_id=row.decision_job_id,
            decided=Decided(
                row.decision_version, row.decision_rules, row.decision_inputs, row.decision_outcome
            ),
        ),
    )


def decision(row: AnyRow) -> DecisionRow:
    """A row of the table."""
    return DecisionRow(
        row.id,
        row.at,
        Level(row.level),
        row.subject,
        row.study_instance_uid,
        row.job_id,
        Decided(row.version, row.rules, row.inputs, row.outcome),
    )


def about(work: Work, subjects: Sequence[str]) -> Iterator[DecisionRow]:
    """Every decision about these: ids of instances, UIDs of series and studies; the oldest first."""
    rows: list[DecisionRow] = []
    for part in chunks(sorted(set(subjects))):
        query = select(decisions).where(decisions.c.subject.in_(part))
        rows.extend(map(decision, work.connection.execute(query)))
    yield from sorted(rows, key=lambda each: each.number)


def apply(work: Work, study: str, later: Sequence[LaterDecision], *, latest: int) -> int | None:
    """See `Rulings.apply`."""
    # As `register`: nothing arrives while it is decided, and rows are taken in the order in which it takes them.
    work.exclusive("register")
    members = sorted({instance_id for each in later for instance_id in each.members})
    rows = {row.id: row for row in _locked(work, members)}
    waits.locked(work, [study])
    still = select(studies.c.undecided).where(studies.c.study_instance_uid == study)
    if not work.connection.execute(still).scalar_one():  # somebody else was faster
        return None
    if work.connection.execute(_latest(study)).scalar_one() != latest:
        return None
    made, facts = _deliveries(work, later, rows)
    if made:
        destinations.let_be(work, sorted({str(row["destination"]) for row in made}))
        work.connection.execute(insert(deliveries), made)
        delivery_counts.change(work, [str(row["instance_id"]) for row in made], open_by=1, all_by=1)
        evidence_chain.append(work, facts)
    if later:
        _know(work, (each.decided for each in later))
        work.connection.execute(
            insert(decisions),
            [_values(each.level, each.subject, study, "", each.decided, work.now) for each in later],
        )
    work.connection.execute(
        update(studies)
        .where(studies.c.study_instance_uid == study)
        # Also where nothing waited: what was made now has to be looked at.
        .values(undecided=False, ungrouped_at=func.coalesce(studies.c.ungrouped_at, work.now))
    )
    return len(made)


def _locked(work: Work, instance_ids: Sequence[str]) -> Iterator[AnyRow]:
    for part in chunks(instance_ids):
        yield from work.connection.execute(
            select(instances)
            .where(instances.c.id.in_(part))
            .order_by(instances.c.id)
            .with_for_update(key_share=True)
        )


def _latest(study: str) -> Select[Any]:
    """The number of the last decision about an instance of a study, 0 where there is none."""
    return (
        select(func.coalesce(func.max(decisions.c.id), 0))
        .join(instances, instances.c.id == decisions.c.subject)
        .where(
            instances.c.study_instance_uid == study,
            instances.c.state == InstanceState.KEPT.value,
            decisions.c.level == _INSTANCE,
        )
    )


def _deliveries(
    work: Work, later: Sequence[LaterDecision], rows: dict[str, AnyRow]
) -> tuple[list[dict[str, Any]], list[Fact]]:
    """What is wanted and not there yet, of instances whose bytes are in this house; in the order of their ids."""
    there: set[tuple[str, str]] = set()
    for part in chunks(sorted(rows)):
        query = select(deliveries.c.instance_id, deliveries.c.destination)
        there.update(
            (instance_id, name)
            for instance_id, name in work.connection.execute(query.where(deliveries.c.instance_id.in_(part)))
        )
    jobs = _jobs(work, sorted(rows))
    made: list[dict[str, Any]] = []
    facts: list[Fact] = []
    for each in later:
        for instance_id, wanted in sorted(each.members.items()):
            row = rows.get(instance_id)
            if row is None or (row.released_at is not None and not row.archive_path):
                continue
            for name, terms in wanted.items():
                if (instance_id, name) not in there:
                    there.add((instance_id, name))
                    facts.append(_fact(each, row, name, jobs.get(instance_id, "")))
                    made.append(
                        delivery_row(
                            instance_id,
                            row.study_instance_uid,
                            destination=name,
                            job_id=jobs.get(instance_id, ""),
                            priority=Priority(each.priority),
                            size=row.data_set_bytes,
                            now=work.now,
                            terms=terms,
                        )
                    )
    return sorted(made, key=lambda row: (str(row["instance_id"]), str(row["destination"]))), facts


def _fact(each: LaterDecision, row: AnyRow, destination: str, job_id: str) -> Fact:
    """For each delivery that is wanted now: a report knows them before anything was sent."""
    return Fact(
        FactKind.DECIDED,
        row.study_instance_uid,
        instance_id=row.id,
        destination=destination,
        job_id=job_id,
        detail={
            "level": each.level.value,
            "rules": each.decided.rules,
            "rules_version": each.decided.version,
            "sop_instance_uid": row.sop_instance_uid,
        },
    )


def _jobs(work: Work, instance_ids: Sequence[str]) -> dict[str, str]:
    """The job that brought each, as its last decision has it."""
    found: dict[str, str] = {}
    for part in chunks(instance_ids):
        query = (
            select(decisions.c.subject, decisions.c.job_id)
            .where(decisions.c.subject.in_(part), decisions.c.level == _INSTANCE)
            .order_by(decisions.c.id)
        )
        found.update((subject, job_id) for subject, job_id in work.connection.execute(query))
    return found


def prune(work: Work, *, before_ms: int, limit: int) -> int:
    """Decisions so old go, but of studies that rules have yet to be asked of; how many went."""
    undecided = (
        select(studies.c.study_instance_uid)
        .where(UNDECIDED, studies.c.study_instance_uid == decisions.c.study_instance_uid)
        .exists()
    )
    old = (
        select(decisions.c.id)
        .where(decisions.c.at < before_ms, ~undecided)
        .order_by(decisions.c.at)
        .limit(limit)
    )
    ids = list(work.connection.execute(old).scalars())
    for part in chunks(ids):
        work.connection.execute(delete(decisions).where(decisions.c.id.in_(part)))
    return len(ids)
