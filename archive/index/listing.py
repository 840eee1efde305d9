"""The instances of a study or series in the order in which they are looked at, with their number of frames; nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select

from archive.index.schema import instances, series, studies
from dicomrelay.ledger.engine import Database, chunks


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
    query = (
        select(
            series.c.series_number, series.c.series_instance_uid, instances.c.instance_number,
            instances.c.sop_instance_uid, instances.c.number_of_frames,
        )
        .join_from(studies, series, series.c.study == studies.c.id)
        .join(instances, instances.c.series == series.c.id)
        .where(studies.c.study_instance_uid == study_uid)
    )  # fmt: skip
    if series_uid:
        query = query.where(series.c.series_instance_uid == series_uid)
    found: list[tuple[int | None, str, int | None, str, int | None]] = []
    with database.read() as work:
        for some in chunks([*dict.fromkeys(sop_instance_uids)]) if sop_instance_uids else [()]:
            asked = query.where(instances.c.sop_instance_uid.in_(some)) if some else query
            found += [tuple(row) for row in work.connection.execute(asked.limit(most - len(found)))]
            if len(found) >= most:
                break
    found.sort(key=lambda row: (row[0] is None, row[0] or 0, row[1], row[2] is None, row[2] or 0, row[3]))
    return [ListedInstance(row[1], row[3], max(1, row[4] or 1)) for row in found]
