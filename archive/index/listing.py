"""The instances of a study or series in the order in which they are looked at, with their number of frames; nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from sqlalchemy import String, cast, func, select

from archive.index.schema import instances, series, studies
from dicomrelay.ledger.engine import Database, chunks

# Neither is in a UID or a number.
_BETWEEN: Final = "/"
_BEHIND: Final = ","
_Row: TypeAlias = tuple[int | None, str, int | None, str, int | None]


@dataclass(frozen=True, slots=True)
class ListedInstance:
    """An instance and how many frames its data set says it has: 1 when it says nothing."""

    series_instance_uid: str
    sop_instance_uid: str
    frames: int


def listed_instances(
    database: Database,
    study_uid: str,
    series_uid: str = "",
    sop_instance_uids: Sequence[str] = (),
    *,
    most: int,
) -> list[ListedInstance]:
    """By Series Number, Series Instance UID, Instance Number and SOP Instance UID; what has no number last.

    Parameters
    ----------
    series_uid, sop_instance_uids :
        Only of that series, only these; all when empty.
    most : int
        How many are read at most.

    Raises
    ------
    ServiceUnavailable
        The index does not answer.
    """
    number, frames = instances.c.instance_number, instances.c.number_of_frames
    words = (
        instances.c.sop_instance_uid + _BETWEEN + func.coalesce(cast(number, String), "")
        + _BETWEEN + func.coalesce(cast(frames, String), "")
    )  # fmt: skip
    query = (
        select(series.c.series_number, series.c.series_instance_uid, words.label("words"))
        .join_from(studies, series, series.c.study == studies.c.id)
        .join(instances, instances.c.series == series.c.id)
        .where(studies.c.study_instance_uid == study_uid)
    )
    if series_uid:
        query = query.where(series.c.series_instance_uid == series_uid)
    found: list[_Row] = []
    with database.read() as work:
        for some in chunks([*dict.fromkeys(sop_instance_uids)]) if sop_instance_uids else [()]:
            asked = query.where(instances.c.sop_instance_uid.in_(some)) if some else query
            rows = asked.limit(most - len(found)).subquery()
            of_series = (rows.c.series_number, rows.c.series_instance_uid)
            # One row a series: for each one the driver lets go of the interpreter, and waits to have it back.
            together = select(*of_series, func.aggregate_strings(rows.c.words, _BEHIND)).group_by(*of_series)
            for series_number, uid, joined in work.connection.execute(together):
                found += (_row(series_number, uid, each) for each in joined.split(_BEHIND))
            if len(found) >= most:
                break
    found.sort(key=lambda row: (row[0] is None, row[0] or 0, row[1], row[2] is None, row[2] or 0, row[3]))
    return [ListedInstance(row[1], row[3], max(1, row[4] or 1)) for row in found]


def _row(series_number: int | None, series_uid: str, words: str) -> _Row:
    uid, number, frames = words.split(_BETWEEN)
    return series_number, series_uid, int(number) if number else None, uid, int(frames) if frames else None
