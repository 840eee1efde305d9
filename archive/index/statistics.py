"""What an archive holds, in numbers: read from the counters, never from the instances."""

from __future__ import annotations

from sqlalchemy import Table, UnaryExpression, case, func, select

from archive.index.date_columns import is_date
from archive.index.schema import conflicts, disagreements, instances, patients, series, studies, tombstones
from archive.values import Amount, Statistics
from dicomrelay.ledger.engine import Database, Work

_UNKNOWN = ""


def statistics(database: Database) -> Statistics:
    """The numbers, as of one moment. Raises ServiceUnavailable when the index does not answer."""
    with database.read() as work:
        by_modality, by_year = _by_modality(work), _by_year(work)
        dates = _first_date(work, studies.c.study_date.asc()), _first_date(work, studies.c.study_date.desc())
        stored = work.connection.execute(
            select(func.min(studies.c.created_ms), func.max(studies.c.created_ms))
        ).one()
        return Statistics(
            patients=_count(work, patients),
            studies=sum(each.studies for each in by_year.values()),
            series=sum(each.series for each in by_year.values()),
            instances=sum(each.instances for each in by_year.values()),
            bytes=sum(each.bytes for each in by_year.values()),
            by_modality=by_modality,
            by_year=by_year,
            oldest_study_date=dates[0] or "",
            newest_study_date=dates[1] or "",
            first_study_ms=stored[0],
            last_study_ms=stored[1],
            disagreements=_count(work, disagreements),
            conflicts=_count(work, conflicts),
            removed=_count(work, tombstones),
            damaged=work.connection.execute(
                select(func.count()).select_from(instances).where(instances.c.damage.is_not(None))
            ).scalar_one(),
        )


def _count(work: Work, table: Table) -> int:
    return work.connection.execute(select(func.count()).select_from(table)).scalar_one()


def _by_modality(work: Work) -> dict[str, Amount]:
    rows = work.connection.execute(
        select(
            series.c.modality,
            func.count(series.c.study.distinct()),
            func.count(),
            func.sum(series.c.instance_count),
            func.sum(series.c.byte_count),
        ).group_by(series.c.modality)
    )
    found = {name or _UNKNOWN: Amount(*map(int, amounts)) for name, *amounts in rows}
    return dict(sorted(found.items()))


def _first_date(work: Work, order: UnaryExpression[str]) -> str | None:
    """The first of the study dates, along their index; what is no date is passed over."""
    query = select(studies.c.study_date).where(is_date(studies.c.study_date)).order_by(order).limit(1)
    return work.connection.execute(query).scalar_one_or_none()


def _by_year(work: Work) -> dict[str, Amount]:
    # A date that is none counts among the unknown.
    year = case((is_date(studies.c.study_date), func.substr(studies.c.study_date, 1, 4)), else_=_UNKNOWN)
    each = select(
        year.label("year"), studies.c.series_count, studies.c.instance_count, studies.c.byte_count
    ).subquery()
    rows = work.connection.execute(
        select(
            each.c.year,
            func.count(),
            func.sum(each.c.series_count),
            func.sum(each.c.instance_count),
            func.sum(each.c.byte_count),
        ).group_by(each.c.year)
    )
    found = {name: Amount(*map(int, amounts)) for name, *amounts in rows}
    return dict(sorted(found.items()))
