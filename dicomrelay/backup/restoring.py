"""Restoring: what is not there is made, what is there stays or is put aside; nothing is deleted."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from dicomrelay.backup import postgresql, sqlite_files
from dicomrelay.backup.making import LEDGER_VERSION
from dicomrelay.backup.values import (
    DUMP_FILE,
    INDEX_FILE,
    LEDGER_FILE,
    Engine,
    Entry,
    Manifest,
    Part,
)
from dicomrelay.backup.verifying import verified
from dicomrelay.errors import BackupDamaged, ConfigurationError, ServiceError, ServiceUnavailable
from dicomrelay.ledger.migrate import migrate, newest_revision
from dicomrelay.ownership import give_to_owner_of
from dicomrelay.runtime import home
from dicomrelay.settings import Settings


@dataclass
class Done:
    """What a restore did.

    Attributes
    ----------
    restored, kept : list of Part
        Parts that are from the backup now, and parts that stayed as they were.
    aside : list of Path
        Where what was there is now.
    elsewhere : list of tuple of Path and str
        A file in `restored/`, and where it belongs.
    missing : list of str
        Parts that could not be restored, with the reason. What the backup does not have is `left_out` of the manifest.
    migrated_from : str, optional
        The revision of the ledger in the backup, where this version's is newer.
    """

    manifest: Manifest
    restored: list[Part] = field(default_factory=list)
    kept: list[Part] = field(default_factory=list)
    aside: list[Path] = field(default_factory=list)
    elsewhere: list[tuple[Path, str]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    migrated_from: str | None = None


def opened(folder: Path, *, newest_index: str | None = None) -> Done:
    """A backup that was looked at, from which nothing is restored yet.

    Parameters
    ----------
    newest_index : str, optional
        The revision of the archive's index that this version of dicomrelay writes; without it that is not looked at.

    Raises
    ------
    ConfigurationError
        The folder is no backup.
    BackupDamaged
        It is not whole, not sound, or of a newer version.
    """
    manifest = verified(folder)
    if manifest.ledger.revision is None:
        raise BackupDamaged(f"{folder}: its database is no ledger of dicomrelay: it has no revision")
    index = manifest.index.revision if manifest.index is not None else None
    for name, revision, newest in (
        ("ledger", manifest.ledger.revision, newest_revision()),
        ("index", index, newest_index),
    ):
        if revision is not None and newest is not None and revision > newest:
            raise BackupDamaged(
                f"{folder}: its {name} is of revision {revision}, made by dicomrelay {manifest.version}, and this version knows "
                f"{newest}: restore it with that version"
            )
    return Done(manifest)


def refuse_while_up(settings: Settings) -> None:
    """Make sure, before anything is changed, that `dicomrelay up` does not run at this home.

    Raises
    ------
    ServiceError
        It does.
    """
    if home.HomeLock(settings).is_held():
        raise ServiceError(f"{settings.home}: `dicomrelay up` runs here: stop it, then say this again")


def restore_databases(
    settings: Settings,
    folder: Path,
    done: Done,
    *,
    replace: Collection[Part] = (),
    keep_revision: bool = False,
) -> None:
    """Ledger and index, and the name of the spool where it has none.

    Parameters
    ----------
    replace : collection of Part
        What is put aside where it is there.
    keep_revision : bool
        Leave the ledger as old as it is, for the way back to an older version.

    Raises
    ------
    ConfigurationError
        The database is of another kind than the backup's, or has tables.
    BackupDamaged
        What was restored is not what the manifest says.
    ServiceError
        Something of the relay is at work.
    """
    manifest = done.manifest
    refuse_while_up(settings)
    home.prepare(settings)
    lock = home.HomeLock(settings)
    lock.take()  # nor does it start meanwhile
    try:
        if manifest.engine is Engine.POSTGRESQL:
            _postgresql(settings, folder, done)
        else:
            _sqlite(settings, folder, done, replace)
        if manifest.spool and not home.known_spool_name(settings):
            home.write_spool_name(settings, manifest.spool)
        if (
            not keep_revision
            and Part.LEDGER in done.restored
            and manifest.ledger.revision != newest_revision()
        ):
            migrate(home.ledger_url(settings))
            done.migrated_from = manifest.ledger.revision
    finally:
        lock.release()


def _postgresql(settings: Settings, folder: Path, done: Done) -> None:
    if not home.is_shared(settings):
        done.missing.append(
            "the ledger: it is of PostgreSQL, and database.url names none: set it to an empty database, then say this again"
        )
        return
    url = home.ledger_url(settings)
    postgresql.refuse_when_used(url)
    postgresql.put_back(url, folder / DUMP_FILE, done.manifest.ledger, LEDGER_VERSION)
    done.restored += [Part.LEDGER, Part.INDEX]


def _sqlite(settings: Settings, folder: Path, done: Done, replace: Collection[Part]) -> None:
    if home.is_shared(settings):
        raise ConfigurationError(
            f"{folder}: is of an embedded ledger, and database.url names a PostgreSQL database: one is not made of the other; "
            'set database.url = "embedded"'
        )
    _database(settings.path("db", "ledger.sqlite"), folder / LEDGER_FILE, Part.LEDGER, done, replace)
    if done.manifest.index is None:
        return
    archive = settings.archive_path
    if not (archive / "archive.json").is_file():
        done.missing.append(
            f"the archive's index: {archive} is no archive: put its files back, then say this again; or `dicomrelay archive "
            "rebuild-index` makes it from them"
        )
        return
    _database(archive / "index.sqlite", folder / INDEX_FILE, Part.INDEX, done, replace)


def _database(target: Path, source: Path, part: Part, done: Done, replace: Collection[Part]) -> None:
    is_there = target.is_file() and target.stat().st_size > 0
    if is_there and part not in replace:
        done.kept.append(part)
        return
    if target.exists():
        sqlite_files.refuse_when_open(target)
    aside = sqlite_files.aside_folder(target.parent)
    entry = next(each for each in done.manifest.files if each.name == source.name)
    try:
        with sqlite_files.beside(target) as fresh:
            copied(source, fresh, entry)
            if sqlite_files.put_in_place(fresh, target, aside):
                done.aside.append(aside)
    except OSError as error:
        raise ServiceUnavailable(f"{target}: cannot be restored: {error.strerror}") from error
    done.restored.append(part)


def copied(source: Path, target: Path, entry: Entry) -> None:
    """A file of the backup, under a name that is not there yet; durable, and as long as the manifest says."""
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as made, source.open("rb") as taken:
        give_to_owner_of(target.parent, fd)
        shutil.copyfileobj(taken, made, 1 << 20)
        made.flush()
        os.fsync(made.fileno())
        if made.tell() != entry.bytes:
            raise BackupDamaged(f"{source}: changed while it was restored")
