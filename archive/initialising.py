"""A new archive: in an empty folder, or in one that is not, whose archive is then moved aside and never deleted."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from archive.archive import Archive
from archive.disk import Disk
from archive.layout import CONFLICTS, DATA
from archive.root import FORMAT, LOCK, OURS, Facts, UseLock, write_facts
from archive.values import Policy
from dicomrelay.errors import ArchiveError, ConfigurationError


@dataclass(frozen=True, slots=True)
class Initialised:
    """An archive that was made.

    Attributes
    ----------
    root : Path
        Where.
    moved_to : Path or None
        Where the archive is now that was there before.
    left : tuple of str
        What else is in the folder, at most ten names: it was not touched.
    """

    root: Path
    moved_to: Path | None = None
    left: tuple[str, ...] = ()


def initialise(
    root: Path, *, force: bool = False, policy: Policy = Policy.KEEP_FIRST, database_url: str | None = None
) -> Initialised:
    """Make an archive.

    Parameters
    ----------
    force : bool
        Also in a folder that is not empty: the archive that it holds is moved into `before-<time>/`, other files stay.
    database_url : str, optional
        Where the index is; by default in the folder. What such a database has of another archive is not touched.

    Raises
    ------
    ConfigurationError
        The folder is a file, or is not empty, or its archive is open elsewhere.
    ArchiveError
        The folder cannot be made or written.
    ServiceUnavailable
        The index cannot be made.
    """
    root = root.absolute()
    disk = Disk()
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        disk.sync_directory(root.parent)
        there = sorted(path.name for path in root.iterdir() if path.name != LOCK)
        if there and not force:
            raise ConfigurationError(f"{root}: {_refusal(there)}")
        with UseLock(root, alone=True):
            moved_to = _move_aside(root, [name for name in there if name in OURS], disk)
            write_facts(root, Facts(FORMAT, time.time_ns() // 1_000_000, policy), disk)
        for name in (DATA, CONFLICTS):
            disk.make_directory(root / name)
        disk.sync_directory(root)
    except (FileExistsError, NotADirectoryError):
        raise ConfigurationError(f"{root}: is a file: name a folder") from None
    except OSError as error:
        raise ArchiveError(f"archive {root}: cannot be made: {error.strerror}") from error
    Archive.open(root, database_url=database_url).close()
    return Initialised(root, moved_to, tuple([name for name in there if name not in OURS][:10]))


def _refusal(there: list[str]) -> str:
    if any(name in OURS for name in there):
        return "holds an archive already: with force it is moved aside and a new one is made"
    return (
        f"is not empty ({', '.join(there[:3])}{', …' if len(there) > 3 else ''}): name another folder, or say --force: "
        "nothing of it is deleted"
    )


def _move_aside(root: Path, names: list[str], disk: Disk) -> Path | None:
    """By renaming, durably."""
    if not names:
        return None
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for number in range(1000):
        folder = root / (f"before-{stamp}-{number}" if number else f"before-{stamp}")
        try:
            folder.mkdir(mode=0o700)
            break
        except FileExistsError:
            continue
    else:
        raise ArchiveError(f"archive {root}: there is no free name for what was there before")
    for name in names:
        disk.replace(root / name, folder / name)
    disk.sync_directory(folder)
    disk.sync_directory(root)
    return folder
