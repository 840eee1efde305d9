"""A selection as it stands in the index at one moment, in order, and in a database file of its own: memory is that of a page.

Patients, studies, series and instances come in the order in which the archive first saw them, which is the same every
time: what is numbered by it can be resumed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from itertools import islice
from operator import attrgetter
from typing import Any, Final

from archive.archive import Archive
from archive.scratch import scratch
from archive.values import Selection, StoredInstance

_BATCH: Final = 1000
_FIELDS: Final = ", ".join(field.name for field in fields(StoredInstance))
_MARKS: Final = ", ".join("?" for _ in fields(StoredInstance))
_values: Final = attrgetter(*(field.name for field in fields(StoredInstance)))
_TABLES: Final = f"""
CREATE TABLE studies (
    id INTEGER PRIMARY KEY, patient INTEGER, uid TEXT, patient_id TEXT, patient_name TEXT, date TEXT, description TEXT
);
CREATE INDEX of_patient ON studies (patient, id);
CREATE TABLE series (id INTEGER PRIMARY KEY, study INTEGER, uid TEXT, modality TEXT, description TEXT);
CREATE INDEX of_study ON series (study, id);
CREATE TABLE instances (
    series INTEGER, id INTEGER, stored_ms INTEGER, {_FIELDS}, PRIMARY KEY (series, id)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True, eq=False)
class OutlinedPatient:
    """A patient; `number` counts from 1."""

    number: int
    patient_id: str
    patient_name: str


@dataclass(frozen=True, slots=True, eq=False)
class OutlinedStudy:
    """A study; `number` counts those of its patient. `modality` is that of most of its instances."""

    number: int
    uid: str
    date: str
    description: str
    modality: str
    patient: OutlinedPatient


@dataclass(frozen=True, slots=True, eq=False)
class OutlinedSeries:
    """A series; `number` counts those of its study."""

    number: int
    uid: str
    modality: str
    description: str
    study: OutlinedStudy


@dataclass(frozen=True, slots=True)
class OutlinedInstance:
    """An instance; `number` counts those of its series, `stored_ms` is when it was stored, in ms since the epoch."""

    number: int
    stored: StoredInstance
    stored_ms: int
    series: OutlinedSeries


class Outline:
    """What `outlined` gives. For one thread.

    Attributes
    ----------
    count, byte_count : int
        Instances of the selection, and the bytes of their files.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        count, byte_count = connection.execute(
            "SELECT count(*), coalesce(sum(file_bytes), 0) FROM instances"
        ).fetchone()
        self.count: int = count
        self.byte_count: int = byte_count

    def __iter__(self) -> Iterator[OutlinedInstance]:
        """Every instance, depth first. Those of one series have the same object as their series, and so on upward."""
        for series in self._series():
            rows = self._connection.execute(
                f"SELECT stored_ms, {_FIELDS} FROM instances WHERE series = ? ORDER BY id",  # noqa: S608 - no input
                (series[0],),
            )
            for number, (stored_ms, *values) in enumerate(rows, 1):
                yield OutlinedInstance(number, StoredInstance(*values), stored_ms, series[1])

    def _series(self) -> Iterator[tuple[int, OutlinedSeries]]:
        for key, study in self._studies():
            rows = self._connection.execute(
                "SELECT id, uid, modality, description FROM series WHERE study = ? ORDER BY id", (key,)
            )
            for number, (series_key, uid, modality, description) in enumerate(rows, 1):
                yield series_key, OutlinedSeries(number, uid, modality, description, study)

    def _studies(self) -> Iterator[tuple[int, OutlinedStudy]]:
        rows = self._connection.execute(
            "SELECT patient, id, uid, patient_id, patient_name, date, description FROM studies ORDER BY patient, id"
        )
        last, number, patient = None, 0, OutlinedPatient(0, "", "")
        for patient_key, key, uid, patient_id, patient_name, date, description in rows:
            if patient_key != last:
                last, number = patient_key, 0
                patient = OutlinedPatient(patient.number + 1, patient_id, patient_name)
            number += 1
            yield key, OutlinedStudy(number, uid, date, description, self._modality(key), patient)

    def _modality(self, study: int) -> str:
        """Of most of its instances; of two with as many, the one that came first."""
        row = self._connection.execute(
            "SELECT series.modality FROM series JOIN instances ON instances.series = series.id WHERE series.study = ?"
            " GROUP BY series.modality ORDER BY series.modality = '', count(*) DESC, min(series.id) LIMIT 1",
            (study,),
        ).fetchone()
        return str(row[0]) if row else ""


@contextmanager
def outlined(archive: Archive, selection: Selection) -> Iterator[Outline]:
    """The outline of a selection, as long as the block lasts.

    Raises
    ------
    ConfigurationError
        The selection makes no sense; the message names the attribute.
    ServiceUnavailable
        The index does not answer.
    ArchiveError
        The temporary folder is full.
    """
    with scratch(_TABLES) as connection:
        found = archive.select(selection)
        connection.execute("BEGIN")
        while batch := list(islice(found, _BATCH)):
            _add(connection, archive, batch)
        connection.execute("COMMIT")
        yield Outline(connection)


def _add(connection: sqlite3.Connection, archive: Archive, batch: Sequence[StoredInstance]) -> None:
    places = archive.places()
    there = places.of_instances([stored.sop_instance_uid for stored in batch])
    connection.executemany(
        f"INSERT OR IGNORE INTO instances VALUES (?, ?, ?, {_MARKS})",  # noqa: S608 - no input
        [
            (place.series, place.instance, place.stored_ms, *_values(stored))
            for stored in batch
            if (place := there.get(stored.sop_instance_uid))  # else it was removed this moment
        ],
    )
    new_series = _missing(connection, "series", {place.series for place in there.values()})
    rows = places.series_rows(new_series)
    connection.executemany(
        "INSERT INTO series VALUES (?, ?, ?, ?, ?)",
        [
            (
                row["id"],
                row["study"],
                row["series_instance_uid"],
                *_texts(row, "modality", "series_description"),
            )
            for row in rows
        ],
    )
    connection.executemany(
        "INSERT INTO studies VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (
                row["id"],
                row["patient"],
                row["study_instance_uid"],
                *_texts(row, "patient_id", "patient_name", "study_date", "study_description"),
            )
            for row in places.study_rows(_missing(connection, "studies", {row["study"] for row in rows}))
        ],
    )


def _missing(connection: sqlite3.Connection, table: str, numbers: set[int]) -> list[int]:
    query = f"SELECT 1 FROM {table} WHERE id = ?"  # noqa: S608 - the name of a table of ours
    return [number for number in sorted(numbers) if connection.execute(query, (number,)).fetchone() is None]


def _texts(row: Any, *names: str) -> tuple[str, ...]:
    return tuple(row[name] or "" for name in names)
