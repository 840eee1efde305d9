"""Is a backup what it was when it was made: digests, pages, rows and references."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from dicomrelay.backup import postgresql, sqlite_files
from dicomrelay.backup.making import INDEX_VERSION, LEDGER_VERSION, PARTIAL, digest_of
from dicomrelay.backup.values import (
    DUMP_FILE,
    INDEX_FILE,
    LEDGER_FILE,
    MANIFEST,
    Database,
    Engine,
    Manifest,
    decoded,
)
from dicomrelay.errors import BackupDamaged, ConfigurationError

# A manifest lists some files and tables; what is longer is another file.
_MOST_BYTES: Final = 16 << 20


def verified(folder: Path) -> Manifest:
    """The manifest of a backup, every file of which is as it was written.

    Raises
    ------
    ConfigurationError
        The folder is no backup.
    BackupDamaged
        A file is missing, longer, shorter or other than it was, or a database in it is damaged.
    """
    manifest = _manifest(folder)
    for entry in manifest.files:
        path = folder / entry.name
        if path.is_symlink() or not path.is_file():
            raise BackupDamaged(f"{path}: is missing, and the manifest has it")
        size, digest = digest_of(path)
        if (size, digest) != (entry.bytes, entry.sha256):
            raise BackupDamaged(
                f"{path}: is not as it was written: {size} bytes, SHA-256 {digest[:12]}…; it had {entry.bytes}, "
                f"{entry.sha256[:12]}…"
            )
    names = {entry.name for entry in manifest.files}
    if manifest.engine is Engine.POSTGRESQL:
        _needed(folder, names, DUMP_FILE)
        postgresql.look(folder / DUMP_FILE)
        return manifest
    _needed(folder, names, LEDGER_FILE)
    _same(folder / LEDGER_FILE, LEDGER_VERSION, manifest.ledger)
    if manifest.index is not None:
        _needed(folder, names, INDEX_FILE)
        _same(folder / INDEX_FILE, INDEX_VERSION, manifest.index)
    return manifest


def _manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    if folder.name.endswith(PARTIAL):
        raise ConfigurationError(f"{folder}: is a backup that was not finished: take another one")
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES)
    except OSError as error:
        raise ConfigurationError(
            f"{path}: {error.strerror}: name a folder that `dicomrelay backup` made"
        ) from error
    return decoded(text, str(path))


def _needed(folder: Path, names: set[str], name: str) -> None:
    if name not in names:
        raise BackupDamaged(f"{folder / MANIFEST}: does not list {name}")


def _same(path: Path, version_table: str, expected: Database) -> None:
    found = sqlite_files.looked_at(path, version_table, thorough=True)
    if found != expected:
        raise BackupDamaged(f"{path}: its rows or its revision are not those of the manifest")
