"""What repair works with, and what it says of each finding."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from dicomrelay.dicom.part10 import HEAD_BYTES
from dicomrelay.errors import ConfigurationError, SpoolCorrupt
from dicomrelay.runtime import home
from dicomrelay.settings import Settings
from dicomrelay.spool import SpoolRecord
from dicomrelay.spool.layout import Layout
from dicomrelay.spool.operations import sync_path
from dicomrelay.spool.records import decode_head
from workers.integrity.findings import Finding
from workers.integrity.looking import Look
from workers.integrity.spool_remains import is_locked
from workers.rooms import Rooms


@dataclass(frozen=True, slots=True)
class Choices:
    """What a person decided.

    Attributes
    ----------
    dry_run : bool
        Say what would be done, and do nothing.
    mark_delivered : tuple of str
        Destinations that have what is registered from the spool: nothing of it is sent to them.
    resend : tuple of str
        Destinations that are to get what only the archive has.
    """

    dry_run: bool = False
    mark_delivered: tuple[str, ...] = ()
    resend: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tools:
    """The ports of a repair."""

    rooms: Rooms
    look: Look
    choices: Choices

    @property
    def layout(self) -> Layout:
        """The paths of the spool."""
        return Layout(self.rooms.spool.root)

    @property
    def acts(self) -> bool:
        """Whether anything may be changed. A rehearsal decides all that is decided here, and stops before the deed."""
        return not self.choices.dry_run


@dataclass(frozen=True, slots=True)
class Mended:
    """What became of a finding: `words` say what was done, or why nothing was.

    Attributes
    ----------
    done : bool
        It is mended; false in a rehearsal.
    would : bool
        A rehearsal says that it would be.
    """

    finding: Finding
    words: str
    done: bool = True
    would: bool = False


Mender: TypeAlias = Callable[[Tools, Sequence[Finding]], Iterator[Mended]]


def rehearsed(mended: Mended) -> Mended:
    """What would become of it, in the words of what becomes of it."""
    words = f"would be {'mended' if mended.done else 'left'}: {mended.words}"
    return Mended(mended.finding, words, done=False, would=mended.done)


@contextmanager
def only_repair(settings: Settings) -> Iterator[None]:
    """Be the one repair of this spool; the kernel lets go of the lock with the process.

    Raises
    ------
    ConfigurationError
        Another one is at it.
    """
    path = settings.path("spool", "repair.lock")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(
                f"{settings.home}: another `dicomrelay repair` is at work here: wait for it"
            ) from None
        yield
    finally:
        os.close(fd)


def refuse_beside_the_relay(settings: Settings, what: str) -> None:
    """Raise ConfigurationError when something of the relay runs here."""
    writers = settings.path("spool", "writers")
    tokens: list[str] = []
    with suppress(FileNotFoundError):
        tokens = os.listdir(writers)
    if home.HomeLock(settings).is_held():
        who = "`dicomrelay up` runs here"
    elif any(is_locked(writers / token) for token in tokens):
        who = "a gateway, or a `send`, is writing to this spool"
    else:
        return
    raise ConfigurationError(
        f"{settings.home}: {what}, and {who}: its processes still hold the old database. "
        "Stop it, run `dicomrelay repair`, and start it again; nothing that was acknowledged is lost meanwhile"
    )


def put_away(path: Path, folder: Path) -> str:
    """Move a file into a folder under a name that nothing has there, durably; the name it got. Raises OSError."""
    folder.mkdir(mode=0o700, exist_ok=True)
    name, number = path.name, 0
    while True:
        try:
            os.link(path, folder / name, follow_symlinks=False)
            path.unlink()
            break
        except FileExistsError:
            number += 1
            name = f"{path.stem}~{number}{path.suffix}"
        except OSError:
            if (folder / name).exists():
                raise
            shutil.move(path, folder / name)  # no hard links here, or a folder
            break
    sync_path(folder)
    return name


def record_in(path: Path) -> SpoolRecord | None:
    """Our record in the head of a file, wherever it lies; None where it has none. Raises OSError."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    try:
        return decode_head(head, origin=path.name)
    except SpoolCorrupt:
        return None
