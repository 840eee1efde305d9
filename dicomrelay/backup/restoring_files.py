"""Restoring the files of the settings and the audit trail, into the home and nowhere else."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Final

from dicomrelay.backup import sqlite_files, trail
from dicomrelay.backup.restoring import Done, copied
from dicomrelay.backup.values import SETTINGS_FOLDER, Entry, Part
from dicomrelay.errors import BackupDamaged, ServiceUnavailable
from dicomrelay.runtime import home
from dicomrelay.settings.load import CONFIG_NAME

ELSEWHERE: Final = "restored"
_CONFIG: Final = f"{SETTINGS_FOLDER}/{CONFIG_NAME}"


def restore_settings(
    home_path: Path,
    folder: Path,
    done: Done,
    *,
    replace: Collection[Part] = (),
    config: Path | None = None,
) -> None:
    """The files of the settings, each for itself: one that is there stays, so that a lost one can be had back.

    Parameters
    ----------
    config : Path, optional
        The settings file that is in force. Where it lies outside of the home the one of the backup is put away beside it, for in
        the home it would be read in its place.

    Raises
    ------
    BackupDamaged
        The manifest names a place that is none of the settings.
    ServiceUnavailable
        A file cannot be written.
    """
    aside = sqlite_files.aside_folder(home_path)
    try:
        home_path.mkdir(mode=0o700, parents=True, exist_ok=True)
        states = {
            _put_settings(home_path, folder, entry, done, replace, aside, config)
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


def restore_trail(home_path: Path, folder: Path, done: Done) -> None:
    """The audit trail, joined with the one that is there.

    Raises
    ------
    BackupDamaged
        A file is no segment of a trail.
    ServiceUnavailable
        It cannot be written.
    """
    entries = done.manifest.of(Part.AUDIT)
    if not entries:
        return
    try:
        files = {Path(entry.name).name: (folder / entry.name).read_bytes() for entry in entries}
        if trail.restore(home_path, files):
            done.restored.append(Part.AUDIT)
    except OSError as error:
        raise ServiceUnavailable(
            f"{home_path / trail.FOLDER}: cannot be restored: {error.strerror}"
        ) from error


def _put_settings(
    home_path: Path,
    folder: Path,
    entry: Entry,
    done: Done,
    replace: Collection[Part],
    aside: Path,
    config: Path | None,
) -> bool | None:
    """Whether a file was restored; None when it is there, the same."""
    source = folder / entry.name
    if entry.name == _CONFIG and config is not None and config.read_bytes() == source.read_bytes():
        return None
    target = _target(home_path, folder, entry, done, config)
    is_there = target.is_file()
    if is_there and target.read_bytes() == source.read_bytes():
        return None
    if is_there and Part.SETTINGS not in replace:
        return False
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with sqlite_files.beside(target) as fresh:
        copied(source, fresh, entry)
        if is_there:
            _put_aside(target, aside / target.relative_to(home_path))
        fresh.replace(target)
        sqlite_files.sync(target.parent)
    return True


def _put_aside(target: Path, place: Path) -> None:
    """A second name, so that there is a file at each moment; where the disk knows none, a copy."""
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        place.hardlink_to(target.resolve())
    except OSError:
        shutil.copy2(target, place)
        sqlite_files.sync(place)
    sqlite_files.sync(place.parent)


def _target(home_path: Path, folder: Path, entry: Entry, done: Done, config: Path | None) -> Path:
    """Where a file of the settings goes: into the home, by a path that stays in it, whatever the manifest says."""
    root = home_path.resolve()
    belongs = ""
    if not entry.place or Path(entry.place).is_absolute():
        belongs = entry.place or "the environment of the services"
    elif entry.name == _CONFIG and config is not None and config.resolve() != root / CONFIG_NAME:
        belongs = str(config)
    target = home_path / ELSEWHERE / Path(entry.name).name if belongs else home_path / entry.place
    if belongs:
        done.elsewhere.append((target, belongs))
    meant = target.resolve()
    is_ours = any(meant.is_relative_to(root / name) for name in (*home.FOLDERS, trail.FOLDER))
    if not meant.is_relative_to(root) or meant == root or is_ours:
        raise BackupDamaged(f"{folder}: {entry.place!r} of the manifest is no place of a settings file")
    return target
