"""Which archive a command means, and what a folder is that is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from archive import Archive, Policy
from archive.layout import DATA
from archive.root import FACTS, INDEX
from archive.storage import Storage
from archive.storage.opening import open_storage
from dicomrelay.cli.options import GivenPath, Invocation
from dicomrelay.errors import ConfigurationError
from dicomrelay.runtime import home
from dicomrelay.settings.storage import StorageSettings

JSON_INDEX: Final = "archive_index.json"


@dataclass(frozen=True, slots=True)
class Place:
    """Where an archive is.

    Attributes
    ----------
    root : Path
        Its folder.
    database_url : str, optional
        Its index, where that is not in the folder.
    storage : StorageSettings, optional
        Where its files are, where the settings say so.
    policy : Policy, optional
        What it does with other bytes, where the settings say so.
    is_named : bool
        `--archive` named it.
    """

    root: Path
    database_url: str | None
    storage: StorageSettings | None
    policy: Policy | None
    is_named: bool

    def open(self) -> Archive:
        """The archive, made where there is none."""
        return Archive.open(
            self.root, database_url=self.database_url, storage=self.open_storage(), policy=self.policy
        )

    def open_storage(self) -> Storage | None:
        """Where its files are; None for its folder."""
        return None if self.storage is None else open_storage(self.storage, self.root)

    @property
    def is_there(self) -> bool:
        """Whether it has an index of ours; one in a server's database is taken to be there."""
        index = self.root / INDEX
        return self.database_url is not None or (index.is_file() and index.stat().st_size > 0)


def archive_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--archive`, as every command of the group but `init` takes it."""
    return click.option(
        "-a",
        "--archive",
        "folder",
        type=GivenPath(path_type=Path),
        metavar="DIRECTORY",
        help="The archive.  [default: archive.path of the settings, or archive/ in the home]",
    )(function)


def place_of(invocation: Invocation, folder: Path | None) -> Place:
    """The archive that a folder is, or that of the home when none is named."""
    settings = invocation.settings
    root = settings.archive_path if folder is None else folder.expanduser().absolute()
    # The home's archive by its own name is the same, with the same index and the same storage.
    if folder is None or root.resolve() == settings.archive_path.resolve():
        policy = None if settings.archive.policy is None else Policy(settings.archive.policy)
        return Place(root, home.archive_url(settings), settings.archive, policy, folder is not None)
    return Place(root, None, None, None, is_named=True)


@contextmanager
def opened(invocation: Invocation, folder: Path | None) -> Iterator[Archive]:
    """The archive that is there; none is made.

    Raises
    ------
    ConfigurationError
        The folder holds none.
    ArchiveError
        It was made by a newer version.
    ServiceUnavailable
        Its index does not answer.
    """
    place = place_of(invocation, folder)
    refuse_what_is_none(place)
    with opened_at(place) as archive:
        yield archive


@contextmanager
def opened_at(place: Place) -> Iterator[Archive]:
    """An archive, made where there is none; closed at the end."""
    archive = place.open()
    try:
        yield archive
    finally:
        archive.close()


def refuse_what_is_none(place: Place) -> None:
    """Raise ConfigurationError, in words that say what the folder is instead, when it holds no archive."""
    root = place.root
    try:
        if not root.exists():
            raise ConfigurationError(f"{root}: {_not_there(place)}")
        if not root.is_dir():
            raise ConfigurationError(f"{root}: is a file, and no archive: name the folder")
        if not place.is_there:
            raise ConfigurationError(f"{root}: {_instead(place)}")
    except OSError as error:
        raise ConfigurationError(f"{root}: cannot be looked at: {error.strerror}") from error


def _not_there(place: Place) -> str:
    if place.is_named:
        return "there is no such folder: is the path right? `dicomrelay archive init --path` makes an archive"
    return (
        "there is no archive yet: start `dicomrelay up`, make one with `dicomrelay archive init`, or name another one "
        "with --archive"
    )


def _instead(place: Place) -> str:
    root = place.root
    has_files = (root / DATA).is_dir()
    # Its own word goes before a file that another program, or an export, may have left there.
    if has_files and (root / FACTS).is_file():
        return f"is an archive whose index ({INDEX}) is gone: `dicomrelay archive rebuild-index` makes it from its files"
    if (root / JSON_INDEX).is_file():
        return (
            f"is no archive of dicomrelay, but has an {JSON_INDEX}: take it over with "
            f"`dicomrelay archive import-index {JSON_INDEX} --archive NEW`"
        )
    if has_files:
        return "has files and no index: `dicomrelay archive rebuild-index` makes it from them"
    if not place.is_named:
        return _not_there(place)
    return f"is no archive (it has no {INDEX}): `dicomrelay archive init --path` makes one"
