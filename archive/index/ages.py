"""Studies by their age."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sqlalchemy import and_, exists, func, or_, select

from archive.index.schema import instances, series, studies
from dicomrelay.ledger.engine import Database

_PAGE: Final = 200


@dataclass(frozen=True, slots=True)
class StudyAge:
    """A study, how large it is, and whether any of it is known to be damaged.

    Attributes
    ----------
    last_stored_ms : int
        When the last of its instances was stored, in milliseconds since the epoch.
    """

    study_instance_uid: str
    last_stored_ms: int
    instances: int
    bytes: int
    modalities: tuple[str, ...]
    damaged: bool


class AgeIndex:
    """Reads them. Raises ServiceUnavailable when the database does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def oldest_first(self, *, created_before_ms: int) -> Iterator[StudyAge]:
        """Studies that began before then, in the order in which they began, page by page."""
        of_study = instances.join(series, series.c.id == instances.c.series)
        mine = series.c.study == studies.c.id
        last_stored = (
            select(func.max(instances.c.stored_ms)).select_from(of_study).where(mine).scalar_subquery()
        )
        damaged = exists().select_from(of_study).where(mine, instances.c.damage.is_not(None))
        query = (
            select(
                studies.c.id,
                studies.c.created_ms,
                studies.c.study_instance_uid,
                studies.c.instance_count,
                studies.c.byte_count,
                studies.c.modalities,
                func.coalesce(last_stored, studies.c.created_ms).label("last_stored_ms"),
                damaged.label("damaged"),
            )
            .where(studies.c.created_ms < created_before_ms)
            .order_by(studies.c.created_ms, studies.c.id)
            .limit(_PAGE)
        )
        created, last = -1, 0
        while True:
            behind = or_(
                studies.c.created_ms > created, and_(studies.c.created_ms == created, studies.c.id > last)
            )
            with self._database.read() as work:
                rows = work.connection.execute(query.where(behind)).all()
            for row in rows:
                yield StudyAge(
                    row.study_instance_uid,
                    row.last_stored_ms,
                    row.instance_count,
                    row.byte_count,
                    tuple(each for each in row.modalities.split("\\") if each),
                    bool(row.damaged),
                )
            if len(rows) < _PAGE:
                return
            created, last = rows[-1].created_ms, rows[-1].id
