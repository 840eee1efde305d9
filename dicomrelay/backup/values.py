"""What a backup says of itself: its manifest, as values and as JSON."""

from __future__ import annotations

from enum import StrEnum
from pathlib import PurePosixPath
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from dicomrelay.errors import BackupDamaged

MANIFEST: Final = "manifest.json"
FORMAT: Final = 1
LEDGER_FILE: Final = "ledger.sqlite"
INDEX_FILE: Final = "index.sqlite"
DUMP_FILE: Final = "database.pgdump"
SETTINGS_FOLDER: Final = "settings"
ENVIRONMENT_FILE: Final = f"{SETTINGS_FOLDER}/environment"


class Part(StrEnum):
    """What is restored by itself."""

    LEDGER = "ledger"
    INDEX = "index"
    SETTINGS = "settings"
    AUDIT = "audit"


class Engine(StrEnum):
    """Of which database the backup is."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"


class _Value(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Entry(_Value):
    """One file of the backup.

    Attributes
    ----------
    name : str
        Its path in the folder.
    part : Part
        What it belongs to. A PostgreSQL dump is of the ledger, and has the index too.
    place : str
        Where it goes: a path in the home, or an absolute one elsewhere; "" for what the part says by itself.
    key : str
        The setting that names it; "" when none does.
    """

    name: str
    part: Part
    place: str = ""
    key: str = ""
    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")

    @field_validator("name")
    @classmethod
    def _inside(cls, value: str) -> str:
        if not is_inside(value):
            raise ValueError("leaves the folder of the backup")
        return value


class Database(_Value):
    """What is in a database: its revision, and the rows of each table."""

    revision: str | None
    rows: dict[str, int]


class Manifest(_Value):
    """What a backup holds.

    Attributes
    ----------
    made_ms : int
        When it was begun, in milliseconds since the epoch.
    spool : str
        The name by which the ledger knows the spool; "" when it had none.
    with_secrets : bool
        Whether secrets are in it.
    left_out : tuple of str
        Keys and paths of what is not in it, because it is secret, or could not be taken; with the reason.
    """

    format: int
    version: str
    made_ms: int = Field(ge=0)
    engine: Engine
    spool: str = ""
    with_secrets: bool
    left_out: tuple[str, ...] = ()
    ledger: Database
    index: Database | None = None
    files: tuple[Entry, ...]

    def of(self, part: Part) -> tuple[Entry, ...]:
        """The files of a part."""
        return tuple(entry for entry in self.files if entry.part is part)

    def encoded(self) -> bytes:
        """As the file has it."""
        return self.model_dump_json(indent=1).encode() + b"\n"


def decoded(text: bytes, where: str) -> Manifest:
    """The manifest of a file.

    Raises
    ------
    BackupDamaged
        It is none, or of a format that this version does not know; the message names `where`.
    """
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise BackupDamaged(f"{where}: is no manifest of a backup: {key or 'JSON'}: {first['msg']}") from None
    if manifest.format > FORMAT:
        raise BackupDamaged(
            f"{where}: is of format {manifest.format}, made by dicomrelay {manifest.version}: restore it with that version or "
            "a newer one"
        )
    return manifest


def is_inside(name: str) -> bool:
    """Whether a relative path stays below where it begins, whatever it is joined to."""
    path = PurePosixPath(name)
    return (
        bool(name)
        and not path.is_absolute()
        and ".." not in path.parts
        and "\0" not in name
        and "\\" not in name
    )
