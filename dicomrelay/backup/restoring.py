"""Restoring: what is not there is made, what is there stays or is put aside; nothing is deleted."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

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
from dicomrelay.runtime import home
from dicomrelay.settings import Settings

ELSEWHERE: Final = "restored"


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
        What the backup does not have, of its `left_out`; and parts that could not be restored, with the reason.
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


def opened(folder: Path) -> Done:
    """A backup that was looked at, from which nothing is restored yet.

    Raises
    ------
    ConfigurationError
        The folder is no backup.
    BackupDamaged
        It is not whole, not sound, or of a newer version.
    """
    manifest = verified(folder)
    newest, revision = newest_revision(), manifest.ledger.revision
    if revision is not None and newest is not None and revision > newest:
        raise BackupDamaged(
            f"{folder}: its ledger is of revision {revision}, made by dicomrelay {manifest.version}, and this version knows "
            f"{newest}: restore it with that version"
        )
    return Done(manifest, missing=list(manifest.left_out))


def restore_settings(home_path: Path, folder: Path, done: Done, *, replace: Collection[Part] = ()) -> None:
    """The files of the settings, each for itself: one that is there stays, so that a lost one can be had back.

    Raises
    ------
    BackupDamaged
        The manifest names a place that is none of the settings.
    ServiceUnavailable
        A file cannot be written.
    """
    aside = home_path / f"replaced-{time.strftime('%Y%m%d-%H%M%S')}"
    try:
        home_path.mkdir(mode=0o700, parents=True, exist_ok=True)
        states = {
            _put_settings(home_path, folder, entry, done, replace, aside)
            for entry in done.manifest.of(Part.SETTINGS)
        }
    except OSError as error:
        raise ServiceUnavailable(f"{home_path}: cannot be restored: {error.strerror}") from error
    if True in states:
        done.restored.append(Part.SETTINGS)
    if False in states:
        done.kept.append(Part.SETTINGS)
    if aside.is_dir():
        done.aside.append(aside)


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
    if home.HomeLock(settings).is_held():
        raise ServiceError(f"{settings.home}: `dicomrelay up` runs here: stop it, then say this again")
    home.prepare(settings)
    if manifest.engine is Engine.POSTGRESQL:
        _postgresql(settings, folder, done)
    else:
        _sqlite(settings, folder, done, replace)
    if manifest.spool and not home.known_spool_name(settings):
        home.write_spool_name(settings, manifest.spool)
    if not keep_revision and Part.LEDGER in done.restored and manifest.ledger.revision != newest_revision():
        migrate(home.ledger_url(settings))
        done.migrated_from = manifest.ledger.revision


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
    aside = target.parent / f"replaced-{time.strftime('%Y%m%d-%H%M%S')}"
    entry = next(each for each in done.manifest.files if each.name == source.name)
    try:
        with sqlite_files.beside(target) as fresh:
            _copy(source, fresh, entry)
            if sqlite_files.put_in_place(fresh, target, aside):
                done.aside.append(aside)
    except OSError as error:
        raise ServiceUnavailable(f"{target}: cannot be restored: {error.strerror}") from error
    done.restored.append(part)


def _put_settings(
    home_path: Path, folder: Path, entry: Entry, done: Done, replace: Collection[Part], aside: Path
) -> bool | None:
    """Whether a file was restored; None when it is there, the same."""
    target, source = _target(home_path, folder, entry, done), folder / entry.name
    is_there = target.is_file()
    if is_there and target.read_bytes() == source.read_bytes():
        return None
    if is_there and Part.SETTINGS not in replace:
        return False
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with sqlite_files.beside(target) as fresh:
        _copy(source, fresh, entry)
        if is_there:
            aside.mkdir(mode=0o700, exist_ok=True)
            target.rename(aside / target.name)
        fresh.rename(target)
    return True


def _target(home_path: Path, folder: Path, entry: Entry, done: Done) -> Path:
    """Where a file of the settings goes: into the home, by a path that stays in it, whatever the manifest says."""
    if not entry.place or Path(entry.place).is_absolute():
        target = home_path / ELSEWHERE / Path(entry.name).name
        done.elsewhere.append((target, entry.place or "the environment of the services"))
    else:
        target = home_path / entry.place
    root, meant = home_path.resolve(), target.resolve()
    is_ours = any(meant.is_relative_to(root / name) for name in home.FOLDERS)
    if not meant.is_relative_to(root) or meant == root or is_ours:
        raise BackupDamaged(f"{folder}: {entry.place!r} of the manifest is no place of a settings file")
    return target


def _copy(source: Path, target: Path, entry: Entry) -> None:
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as made, source.open("rb") as taken:
        shutil.copyfileobj(taken, made, 1 << 20)
        made.flush()
        os.fsync(made.fileno())
        if made.tell() != entry.bytes:
            raise BackupDamaged(f"{source}: changed while it was restored")
