"""Writing the index: a batch of instances in one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, select, update
from sqlalchemy.dialects import postgresql, sqlite

from archive.attributes import ATTRIBUTES, InstanceAttributes, Level, Value
from archive.index.keys import derived
from archive.index.schema import instances, patients, series, studies
from archive.values import StoredInstance, StoreRequest
from dicomrelay.ledger.engine import Database, chunks


@dataclass(frozen=True, slots=True)
class Known:
    """What the index holds under a SOP Instance UID."""

    digest: str
    relative_path: str
    file_bytes: int


@dataclass(frozen=True, slots=True)
class FileSize:
    """The size of a stored file that was put back, and where its data set begins, in bytes."""

    file_bytes: int
    data_set_offset: int


@dataclass(frozen=True, slots=True)
class NewInstance:
    """A stored file that the index is to know."""

    request: StoreRequest
    attributes: InstanceAttributes
    relative_path: str
    file_bytes: int

    def stored(self) -> StoredInstance:
        """The same as a value of the index."""
        request = self.request
        return StoredInstance(
            study_instance_uid=request.study_instance_uid,
            series_instance_uid=request.series_instance_uid,
            sop_instance_uid=request.sop_instance_uid,
            sop_class_uid=request.sop_class_uid,
            transfer_syntax_uid=request.transfer_syntax_uid,
            relative_path=self.relative_path,
            file_bytes=self.file_bytes,
            data_set_offset=self.file_bytes - request.data_set_bytes,
            data_set_bytes=request.data_set_bytes,
            digest=request.digest,
        )


class IndexWriter:
    """Puts instances into the index."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def known(self, sop_instance_uids: Sequence[str]) -> dict[str, Known]:
        """What the index holds under these SOP Instance UIDs."""
        with self._database.read() as work:
            return _known(work.connection, sop_instance_uids)

    def resize(self, sizes: Mapping[str, FileSize]) -> None:
        """Record the files that were put back behind another file meta, by SOP Instance UID."""
        with self._database.write() as work:
            for uid, size in sorted(sizes.items()):
                work.connection.execute(
                    update(instances)
                    .where(instances.c.sop_instance_uid == uid)
                    .values(file_bytes=size.file_bytes, data_set_offset=size.data_set_offset)
                )

    def add(self, new: Sequence[NewInstance]) -> dict[str, Known]:
        """Put instances in, in one transaction, and return what the index holds under their UIDs now.

        An instance that another process put in meanwhile stays; the caller compares digests.
        """
        with self._database.write() as work:
            connection = work.connection
            study_keys = _add_studies(connection, new, work.now)
            series_keys = _add_series(connection, new, study_keys)
            rows = [
                {**_instance_row(item), "series": series_keys[_series_key(item)], "stored_ms": work.now}
                for item in sorted(new, key=lambda item: item.request.sop_instance_uid)
            ]
            connection.execute(_insert_if_absent(connection, instances), rows)
            return _known(connection, [item.request.sop_instance_uid for item in new])


def _known(connection: Connection, uids: Sequence[str]) -> dict[str, Known]:
    columns = instances.c
    query = select(columns.sop_instance_uid, columns.digest, columns.relative_path, columns.file_bytes)
    found: dict[str, Known] = {}
    for some in chunks(uids):
        for row in connection.execute(query.where(columns.sop_instance_uid.in_(some))):
            found[row.sop_instance_uid] = Known(row.digest, row.relative_path, row.file_bytes)
    return found


def _add_studies(connection: Connection, new: Iterable[NewInstance], now_ms: int) -> dict[str, int]:
    keys: dict[str, int] = {}
    first = {item.request.study_instance_uid: item for item in _by_weight(new)}
    for uid, item in sorted(first.items()):
        values = _level_values(item.attributes, Level.STUDY)
        patient_id = item.attributes.text("patient_id")
        patient = {
            "patient_key": "\x1f".join((patient_id, item.attributes.text("issuer_of_patient_id")))
            if patient_id
            else f"\x1f\x1f{uid}",
            "patient_id": values.get("patient_id"),
            "issuer_of_patient_id": values.get("issuer_of_patient_id"),
            "patient_name": values.get("patient_name"),
        }
        row = {**values, "study_instance_uid": uid, "created_ms": now_ms}
        found = (
            connection.execute(select(studies).where(studies.c.study_instance_uid == uid)).mappings().first()
        )
        if found is None:
            row["patient"] = _ensure(connection, patients, patient, unique=("patient_key",))
        keys[uid] = _ensure(connection, studies, row, unique=("study_instance_uid",))
    return keys


def _add_series(
    connection: Connection, new: Iterable[NewInstance], study_keys: Mapping[str, int]
) -> dict[tuple[str, str], int]:
    first = {_series_key(item): item for item in _by_weight(new)}
    keys: dict[tuple[str, str], int] = {}
    for key, item in sorted(first.items()):
        values = _level_values(item.attributes, Level.SERIES)
        values["modality"] = values.get("modality") or item.request.modality or None
        row = {**values, "study": study_keys[key[0]], "series_instance_uid": key[1]}
        keys[key] = _ensure(connection, series, row, unique=("study", "series_instance_uid"))
    return keys


def _by_weight(new: Iterable[NewInstance]) -> list[NewInstance]:
    """Those with the most attributes last: they speak for their study and series."""
    return sorted(new, key=lambda item: sum(value is not None for value in item.attributes.values.values()))


def _ensure(connection: Connection, table: Table, row: Mapping[str, Any], *, unique: tuple[str, ...]) -> int:
    """The key of a row, made when it is not there; what an older row lacks is filled in."""
    condition = [table.c[name] == row[name] for name in unique]
    found = connection.execute(select(table).where(*condition)).mappings().first()
    if found is None:
        connection.execute(_insert_if_absent(connection, table), [row])
        found = connection.execute(select(table).where(*condition)).mappings().one()
    missing = {name: value for name, value in row.items() if value is not None and found[name] is None}
    if missing:
        connection.execute(update(table).where(table.c.id == found["id"]).values(**missing))
    return int(found["id"])


def _insert_if_absent(connection: Connection, table: Table) -> Any:
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    return dialect.insert(table).on_conflict_do_nothing()


def _level_values(attributes: InstanceAttributes, level: Level) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for attribute in ATTRIBUTES:
        if attribute.level is level and attribute.column in attributes.values:
            value = values[attribute.column] = attributes.values[attribute.column]
            values.update(derived(attribute, value))
    return values


def _series_key(item: NewInstance) -> tuple[str, str]:
    return item.request.study_instance_uid, item.request.series_instance_uid


def _instance_row(item: NewInstance) -> dict[str, Value]:
    stored = item.stored()
    attributes = {
        attribute.column: item.attributes.values.get(attribute.column)
        for attribute in ATTRIBUTES
        if attribute.level is Level.INSTANCE
    }
    return {
        **attributes,
        "sop_instance_uid": stored.sop_instance_uid,
        "sop_class_uid": stored.sop_class_uid,
        "transfer_syntax_uid": stored.transfer_syntax_uid,
        "relative_path": stored.relative_path,
        "file_bytes": stored.file_bytes,
        "data_set_offset": stored.data_set_offset,
        "data_set_bytes": stored.data_set_bytes,
        "digest": stored.digest,
    }
