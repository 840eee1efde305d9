"""Counters of series and studies, in the transaction that changes the instances below them.

Who calls holds the rows of the studies (`archive.index.filing.lock_studies`): nobody else changes what is below them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, bindparam, delete, exists, func, select, update

from archive.index.disagreeing import PATIENT, SERIES, STUDY, forget_disagreements
from archive.index.schema import instances, patients, series, studies
from dicomrelay.ledger.engine import Database, Work, chunks

SEPARATOR: Final = "\\"
# Studies of one page of a count.
_PAGE: Final = 200


@dataclass(slots=True)
class Change:
    """How many instances and bytes came to a series, or went."""

    instances: int = 0
    bytes: int = 0


@dataclass(slots=True)
class _Total:
    series: int = 0
    instances: int = 0
    bytes: int = 0
    modalities: set[str] = field(default_factory=set)


def count(work: Work, changes: Mapping[int, Change], study_ids: Iterable[int]) -> None:
    """Change the counters of series, by their keys; then those of the studies, and remove what is empty.

    Parameters
    ----------
    changes : mapping
        By the key of the series.
    study_ids : iterable of int
        Every study that one of the series, or a series made in this transaction, belongs to.
    """
    if changes:
        work.connection.execute(
            update(series)
            .where(series.c.id == bindparam("of"))
            .values(
                instance_count=series.c.instance_count + bindparam("more_instances"),
                byte_count=series.c.byte_count + bindparam("more_bytes"),
            ),
            [
                {"of": key, "more_instances": change.instances, "more_bytes": change.bytes}
                for key, change in sorted(changes.items())
            ],
        )
    for some in chunks(sorted(set(study_ids))):
        _settle(work.connection, some)


def _settle(connection: Connection, keys: Sequence[int]) -> None:
    _remove_empty_series(connection, keys)
    totals = {key: _Total() for key in keys}
    rows = connection.execute(
        select(
            series.c.study,
            series.c.modality,
            func.count().label("series"),
            func.sum(series.c.instance_count).label("instances"),
            func.sum(series.c.byte_count).label("bytes"),
        )
        .where(series.c.study.in_(keys))
        .group_by(series.c.study, series.c.modality)
    )
    for row in rows:
        total = totals[row.study]
        total.series += row.series
        total.instances += int(row.instances)
        total.bytes += int(row.bytes)
        if row.modality:
            total.modalities.add(row.modality)
    connection.execute(
        update(studies)
        .where(studies.c.id == bindparam("of"))
        .values(
            series_count=bindparam("all_series"),
            instance_count=bindparam("all_instances"),
            byte_count=bindparam("all_bytes"),
            modalities=bindparam("all_modalities"),
        ),
        [
            {
                "of": key,
                "all_series": total.series,
                "all_instances": total.instances,
                "all_bytes": total.bytes,
                "all_modalities": SEPARATOR.join(sorted(total.modalities)),
            }
            for key, total in sorted(totals.items())
        ],
    )
    if empty := [key for key, total in totals.items() if not total.series]:
        of = select(studies.c.patient, studies.c.study_instance_uid).where(studies.c.id.in_(empty))
        gone = connection.execute(of).all()
        connection.execute(delete(studies).where(studies.c.id.in_(empty)))
        forget_disagreements(connection, STUDY, [row.study_instance_uid for row in gone])
        remove_empty_patients(connection, {row.patient for row in gone})


def _remove_empty_series(connection: Connection, study_ids: Sequence[int]) -> None:
    is_empty = (series.c.study.in_(study_ids), series.c.instance_count == 0)
    uids = connection.execute(select(series.c.series_instance_uid).where(*is_empty)).scalars().all()
    if uids:
        connection.execute(delete(series).where(*is_empty))
        forget_disagreements(connection, SERIES, uids)


def remove_empty_patients(connection: Connection, keys: Iterable[int]) -> None:
    """Remove those of the patients that have no study left."""
    wanted = sorted(keys)
    # Held before the question is asked: whoever files a study under one of them holds it too.
    held = connection.execute(
        select(patients.c.id, patients.c.patient_id)
        .where(patients.c.id.in_(wanted))
        .order_by(patients.c.id)
        .with_for_update()
    ).all()
    connection.execute(
        delete(patients).where(patients.c.id.in_(wanted), ~exists().where(studies.c.patient == patients.c.id))
    )
    forget_disagreements(connection, PATIENT, [row.patient_id for row in held if row.patient_id])


def verify_counters(work: Work) -> list[str]:
    """Count everything anew and say which studies and series differ; by their UIDs. Reads every instance."""
    wrong: list[str] = []
    last = 0
    while page := _page_of_studies(work, last):
        wrong += _wrong_of(work, page)
        last = page[-1]
    return wrong


def wrong_counters(database: Database) -> Iterator[str]:
    """The same page by page, each in a transaction of its own, while others write.

    Where a transaction sees what is committed meanwhile, a study may differ for a moment: what is told was seen twice.

    Raises
    ------
    ServiceUnavailable
        The database does not answer.
    """
    last = 0
    while True:
        with database.read() as work:
            page = _page_of_studies(work, last)
            wrong = _wrong_of(work, page)
        if wrong:
            with database.read() as work:
                again = {*_wrong_of(work, page)}
            yield from (each for each in wrong if each in again)
        if not page:
            return
        last = page[-1]


def _page_of_studies(work: Work, after: int) -> list[int]:
    query = select(studies.c.id).where(studies.c.id > after).order_by(studies.c.id).limit(_PAGE)
    return list(work.connection.execute(query).scalars())


def _wrong_of(work: Work, study_ids: Sequence[int]) -> list[str]:
    """Of these studies, and of the series in them, those whose counters are not what is below them."""
    of_them = series.c.study.in_(study_ids)
    below = (
        select(
            instances.c.series.label("series"),
            func.count().label("instances"),
            func.coalesce(func.sum(instances.c.file_bytes), 0).label("bytes"),
        )
        .where(instances.c.series.in_(select(series.c.id).where(of_them)))
        .group_by(instances.c.series)
        .subquery()
    )
    rows = work.connection.execute(
        select(series, below.c.instances, below.c.bytes)
        .join_from(series, below, series.c.id == below.c.series, isouter=True)
        .where(of_them)
    ).mappings()
    wrong: list[str] = []
    totals: dict[int, _Total] = {}
    for row in rows:
        if (row["instance_count"], row["byte_count"]) != (row["instances"], row["bytes"]):
            wrong.append(f"series {row['series_instance_uid']}")
        total = totals.setdefault(row["study"], _Total())
        total.series += 1
        total.instances += row["instances"] or 0
        total.bytes += int(row["bytes"] or 0)
        if row["modality"]:
            total.modalities.add(row["modality"])
    held = work.connection.execute(select(studies).where(studies.c.id.in_(study_ids))).mappings()
    others = [study for study in held if _counted(study) != totals.get(study["id"], _Total())]
    return [*wrong, *(f"study {study['study_instance_uid']}" for study in others)]


def _counted(row: Mapping[Any, Any]) -> _Total:
    return _Total(
        row["series_count"],
        row["instance_count"],
        row["byte_count"],
        {name for name in row["modalities"].split(SEPARATOR) if name},
    )
