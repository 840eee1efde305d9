"""Making a backup: every file flushed, the manifest last, and then the name."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

from dicomrelay import __version__
from dicomrelay.backup import postgresql, sqlite_files, trail
from dicomrelay.backup.named_files import MOST_BYTES, is_secret, named_files
from dicomrelay.backup.secrecy import open_variables, redacted, secrets, written_secrets
from dicomrelay.backup.values import (
    DUMP_FILE,
    ENVIRONMENT_FILE,
    FORMAT,
    INDEX_FILE,
    LEDGER_FILE,
    MANIFEST,
    SETTINGS_FOLDER,
    Database,
    Engine,
    Entry,
    Manifest,
    Part,
)
from dicomrelay.errors import ConfigurationError, ServiceUnavailable
from dicomrelay.runtime import home
from dicomrelay.settings import Settings
from dicomrelay.settings.load import CONFIG_NAME

LEDGER_VERSION: Final = "ledger_version"
INDEX_VERSION: Final = "archive_version"
PARTIAL: Final = ".partial"
_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Made:
    """A backup that is there, whole."""

    folder: Path
    manifest: Manifest


@dataclass
class _Making:
    folder: Path
    entries: list[Entry] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def write(self, name: str, part: Part, content: bytes, *, place: str = "", key: str = "") -> None:
        path = self.folder / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        _write(path, content)
        self.note(name, part, place=place, key=key)

    def note(self, name: str, part: Part, *, place: str = "", key: str = "") -> None:
        size, digest = digest_of(self.folder / name)
        self.entries.append(Entry(name=name, part=part, place=place, key=key, bytes=size, sha256=digest))


def make(
    settings: Settings,
    target: Path,
    *,
    config: Path | None,
    environment: Mapping[str, str],
    with_secrets: bool,
) -> Made:
    """Make a backup; the relay may be at work meanwhile.

    Parameters
    ----------
    target : Path
        The folder to make; its parent is there, and it is not.
    config : Path, optional
        The settings file, where there is one.
    environment : mapping
        Where DICOMRELAY_* variables are.
    with_secrets : bool
        Whether secrets go into it, in clear.

    Raises
    ------
    ConfigurationError
        The target is there already, there is no ledger, or a secret cannot be left out.
    ServiceUnavailable
        A database does not answer, or the target's disk is full.
    """
    if target.exists():
        raise ConfigurationError(f"--output {target}: is there already: name a folder that is not")
    partial = target.with_name(target.name + PARTIAL)
    began_ms = time.time_ns() // 1_000_000
    try:
        partial.mkdir(mode=0o700)
    except FileExistsError:
        raise ConfigurationError(
            f"{partial}: another backup makes it just now, or one that died left it: remove it, or name another folder"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"--output {target}: cannot be made: {error.strerror}") from error
    try:
        making = _Making(partial)
        engine, ledger, index = _databases(settings, making)
        _settings(settings, making, config, environment, with_secrets=with_secrets)
        for name, content in trail.packed(settings.home):
            making.write(f"{trail.FOLDER}/{name}", Part.AUDIT, content)
        manifest = Manifest(
            format=FORMAT,
            version=__version__,
            made_ms=began_ms,
            engine=engine,
            spool=home.known_spool_name(settings),
            with_secrets=with_secrets,
            left_out=tuple(making.left_out),
            ledger=ledger,
            index=index,
            files=tuple(making.entries),
        )
        _write(partial / MANIFEST, manifest.encoded())
        _sync_folders(partial)
        partial.rename(target)
    except OSError as error:
        raise ServiceUnavailable(f"{partial}: cannot be written: {error.strerror}") from error
    finally:
        if partial.exists():
            shutil.rmtree(partial, ignore_errors=True)
    _sync(target.parent)
    return Made(target, manifest)


def digest_of(path: Path) -> tuple[int, str]:
    """Size and SHA-256 of a file."""
    sha, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            sha.update(chunk)
            size += len(chunk)
    return size, sha.hexdigest()


def _databases(settings: Settings, making: _Making) -> tuple[Engine, Database, Database | None]:
    """The ledger first: what is archived between the two is in the index and not archived yet in the ledger, never otherwise."""
    if home.is_shared(settings):
        found = postgresql.dump(home.ledger_url(settings), making.folder / DUMP_FILE, LEDGER_VERSION)
        making.note(DUMP_FILE, Part.LEDGER)
        return Engine.POSTGRESQL, found, None
    source = settings.path("db", "ledger.sqlite")
    if not source.is_file():
        raise ConfigurationError(
            f"{source}: there is no ledger: nothing has run here yet, or it is lost (`dicomrelay repair`); or name another home "
            "with --home"
        )
    ledger = _copied(making, source, LEDGER_FILE, Part.LEDGER, LEDGER_VERSION)
    index = settings.archive_path / "index.sqlite"
    if not index.is_file():
        making.left_out.append(f"{index}: there is no index of an archive")
        return Engine.SQLITE, ledger, None
    return Engine.SQLITE, ledger, _copied(making, index, INDEX_FILE, Part.INDEX, INDEX_VERSION)


def _copied(making: _Making, source: Path, name: str, part: Part, version_table: str) -> Database:
    sqlite_files.copy(source, making.folder / name)
    found = sqlite_files.looked_at(making.folder / name, version_table, thorough=False)
    making.note(name, part)
    return found


def _settings(
    settings: Settings,
    making: _Making,
    config: Path | None,
    environment: Mapping[str, str],
    *,
    with_secrets: bool,
) -> None:
    secret = {} if with_secrets else secrets(settings)
    if config is not None:
        text = config.read_text("utf-8")
        if not with_secrets:
            # Also what a variable overrides: it is a secret of somebody still, or was one.
            written = written_secrets(tomllib.loads(text))
            text = redacted(text, [*secret.values(), *written.values()], str(config))
            secret = {**written, **secret}
        making.write(f"{SETTINGS_FOLDER}/{CONFIG_NAME}", Part.SETTINGS, text.encode(), place=CONFIG_NAME)
    kept, left = open_variables(environment, None if with_secrets else secret.values())
    if kept:
        text = "".join(f"{name}={value}\n" for name, value in kept.items())
        making.write(ENVIRONMENT_FILE, Part.SETTINGS, text.encode())
    making.left_out += [f"{key}: is secret" for key in secret]
    making.left_out += [f"{name}: is a variable with a secret" for name in left]
    for number, named in enumerate(named_files(settings), start=1):
        if named.path.stat().st_size > MOST_BYTES:
            making.left_out.append(f"{named.key}: {named.path}: is larger than any file of settings")
            continue
        content = named.path.read_bytes()
        if not with_secrets and is_secret(named, content):
            making.left_out.append(f"{named.key}: {named.path}: is secret")
            continue
        name = f"{SETTINGS_FOLDER}/{number:02}-{named.path.name}"
        place = _place(settings, named.path)
        making.write(name, Part.SETTINGS, content, place=place, key=named.key)


def _place(settings: Settings, path: Path) -> str:
    try:
        return PurePosixPath(path.relative_to(settings.home)).as_posix()
    except ValueError:
        return str(path)


def _write(path: Path, content: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folders(folder: Path) -> None:
    for path in (folder / SETTINGS_FOLDER, folder / trail.FOLDER, folder):
        if path.is_dir():
            _sync(path)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
