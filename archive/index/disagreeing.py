"""What instances say that is not what is kept: written down, listed, and forgotten with what it was said of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from sqlalchemy import Connection, delete, exists, func, select

from archive.index.merging import Difference
from archive.index.pages import pages
from archive.index.schema import disagreements, patients, series, studies
from archive.values import Disagreement
from dicomrelay.ledger.engine import Database, Work, chunks

# Of one attribute of one study or series: some equipment writes another Series Time into each instance.
MOST_OTHERS: Final = 100
PATIENT: Final = "patient"
STUDY: Final = "study"
SERIES: Final = "series"
_UIDS: Final = {
    PATIENT: patients.c.patient_id,
    STUDY: studies.c.study_instance_uid,
    SERIES: series.c.series_instance_uid,
}


def write_disagreements(work: Work, level: str, differing: Mapping[str, Sequence[Difference]]) -> None:
    """Write them down, by UID of what they are about: each other value once, and of each attribute at most `MOST_OTHERS`."""
    uids = sorted(uid for uid, differences in differing.items() if differences)
    if not uids:
        return
    taken = _taken(work.connection, level, uids)
    rows = []
    for uid in uids:
        for each in differing[uid]:
            taken[uid, each.column] = taken.get((uid, each.column), 0) + 1
            if taken[uid, each.column] > MOST_OTHERS:
                continue
            rows.append(
                {
                    "level": level,
                    "uid": uid,
                    "column": each.column,
                    "kept": each.kept,
                    "other": each.other,
                    "sop_instance_uid": each.sop_instance_uid,
                    "found_ms": work.now,
                }
            )
    work.insert_missing(disagreements, rows)


def forget_disagreements(connection: Connection, level: str, uids: Sequence[str]) -> None:
    """Remove those about what is not there any more."""
    columns = disagreements.c
    for some in chunks(uids):
        connection.execute(
            delete(disagreements).where(
                columns.level == level, columns.uid.in_(some), ~exists().where(_UIDS[level] == columns.uid)
            )
        )


def listed_disagreements(database: Database, uid: str = "") -> Iterator[Disagreement]:
    """All, or those about one patient, study or series, in the order they were found; read page by page."""
    query = select(disagreements)
    if uid:
        query = query.where(disagreements.c.uid == uid)
    for rows in pages(database, query, disagreements.c.id):
        for row in rows:
            yield Disagreement(**{name: value for name, value in row.items() if name != "id"})


def _taken(connection: Connection, level: str, uids: Sequence[str]) -> dict[tuple[str, str], int]:
    """How many there are, by UID and column."""
    columns = disagreements.c
    found: dict[tuple[str, str], int] = {}
    for some in chunks(uids):
        there = select(columns.uid, columns.column, func.count()).where(
            columns.level == level, columns.uid.in_(some)
        )
        for uid, column, count in connection.execute(there.group_by(columns.uid, columns.column)):
            found[uid, column] = count
    return found
