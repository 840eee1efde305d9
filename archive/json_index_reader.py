"""Reading `archive_index.json`, of ours and of others: whatever the order of the keys, in bounded memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from archive.json_index import IndexEntry
from archive.json_stream import JsonStream
from archive.scratch import scratch
from dicomrelay.errors import ArchiveError, ConfigurationError

_LONGEST_TEXT: Final = 4096
_LARGEST_SIZE: Final = 2**63 - 1
# Keys of each level with the column that keeps them, and the key of the list of the level below.
_LEVELS: Final = (
    ("patients", {"patientName": "patient_name", "patientID": "patient_id"}, "studies"),
    (
        "studies",
        {
            "studyInstanceUID": "study_instance_uid",
            "studyDate": "study_date",
            "studyDescription": "study_description",
            "modality": "study_modality",
        },
        "series",
    ),
    (
        "series",
        {
            "seriesInstanceUID": "series_instance_uid",
            "modality": "modality",
            "seriesDescription": "series_description",
        },
        "instances",
    ),
)
_INSTANCE: Final = {
    "sopInstanceUID": "sop_instance_uid",
    "sopClassUID": "sop_class_uid",
    "filePath": "file_path",
    "importDate": "import_date",
}
_TABLES: Final = "".join(
    f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, parent INTEGER, {', '.join(keys.values())});"
    for table, keys, _ in _LEVELS
) + (
    f"CREATE TABLE instances (id INTEGER PRIMARY KEY, parent INTEGER, {', '.join(_INSTANCE.values())}, file_size INTEGER);"
)
_COLUMNS: Final = ", ".join(IndexEntry.__dataclass_fields__)
_ENTRIES: Final = (
    f"SELECT {_COLUMNS} FROM instances JOIN series ON series.id = instances.parent"  # noqa: S608 - no input
    " JOIN studies ON studies.id = series.parent JOIN patients ON patients.id = studies.parent ORDER BY instances.id"
)


class JsonIndex:
    """What `read_index` gives: iterate over its entries. For one thread.

    Attributes
    ----------
    version, creation_date, last_modified : str
        As it says; "" for what it leaves out.
    file_count : int or None
        How many instances it says it has; None when it does not say.
    count : int
        How many it has.
    """

    def __init__(self, connection: sqlite3.Connection, head: dict[str, Any]) -> None:
        self._connection = connection
        self.version = str(head.get("version") or "")
        self.creation_date = str(head.get("creationDate") or "")
        self.last_modified = str(head.get("lastModified") or "")
        file_count = head.get("fileCount")
        self.file_count = file_count if isinstance(file_count, int) else None
        (self.count,) = connection.execute("SELECT count(*) FROM instances").fetchone()

    def __iter__(self) -> Iterator[IndexEntry]:
        """Every instance, in the order of the file."""
        for row in self._connection.execute(_ENTRIES):
            yield IndexEntry(*row)


@contextmanager
def read_index(path: Path) -> Iterator[JsonIndex]:
    """An index, as long as the block lasts. All of it is read before the block begins.

    Raises
    ------
    ConfigurationError
        The file cannot be read.
    ArchiveError
        It is no JSON, or not of the schema; of a version that we do not know; the temporary folder is full.
    """
    with scratch(_TABLES) as connection:
        try:
            with path.open(encoding="utf-8-sig") as file:
                head = _Loader(connection, JsonStream(file, str(path))).load()
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
        version = str(head.get("version") or "1")
        if version.partition(".")[0] != "1":
            raise ArchiveError(f"{path}: an index of version {version[:32]!r}; version 1 is known")
        yield JsonIndex(connection, head)


class _Loader:
    """Puts an index into the scratch tables. A child knows its parent by number, since the rest may come behind it."""

    def __init__(self, connection: sqlite3.Connection, stream: JsonStream) -> None:
        self._connection = connection
        self._stream = stream
        self._numbers = [0, 0, 0]

    def load(self) -> dict[str, Any]:
        """Everything of the top that is not `patients`."""
        head: dict[str, Any] = {}
        has_patients = False
        self._connection.execute("BEGIN")
        for key in self._stream.members():
            if key == "patients":
                has_patients = True
                self._list(0, 0)
            else:
                head[key] = self._stream.value()
        self._stream.end()
        self._connection.execute("COMMIT")
        if not has_patients:
            raise self._stream.error("no index of an archive: it has no patients")
        return head

    def _list(self, level: int, parent: int) -> None:
        for _ in self._stream.elements():
            if level == len(_LEVELS):
                self._instance(parent)
            else:
                self._object(level, parent)

    def _object(self, level: int, parent: int) -> None:
        table, columns, children = _LEVELS[level]
        self._numbers[level] += 1
        number = self._numbers[level]
        values = dict.fromkeys(columns.values(), "")
        for key in self._stream.members():
            if key == children:
                self._list(level + 1, number)
            elif key in columns:
                values[columns[key]] = self._text(key, self._stream.value())
            else:
                self._stream.value()
        self._insert(table, {"id": number, "parent": parent, **values})

    def _instance(self, parent: int) -> None:
        found = self._stream.value()
        if not isinstance(found, dict):
            raise self._stream.error("an instance must be an object")
        values: dict[str, Any] = {
            column: self._text(key, found.get(key)) for key, column in _INSTANCE.items()
        }
        size = found.get("fileSize")
        is_size = isinstance(size, int) and not isinstance(size, bool) and 0 <= size <= _LARGEST_SIZE
        if size is not None and not is_size:
            raise self._stream.error("fileSize must be a number of bytes")
        self._insert("instances", {"parent": parent, **values, "file_size": -1 if size is None else size})

    def _insert(self, table: str, row: dict[str, Any]) -> None:
        marks = ", ".join("?" for _ in row)
        self._connection.execute(
            f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})",  # noqa: S608 - names of ours
            tuple(row.values()),
        )

    def _text(self, key: str, value: Any) -> str:
        """Text; a number is taken as such, since some write dates and ids so."""
        if value is None:
            return ""
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise self._stream.error(f"{key} must be text")
        text = str(value)
        if len(text) > _LONGEST_TEXT:
            raise self._stream.error(f"{key} has {len(text)} characters")
        # What JSON may escape and no database stores.
        return text.encode("utf-8", "replace").decode()
