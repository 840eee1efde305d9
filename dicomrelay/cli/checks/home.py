"""The home and its disk."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from dicomrelay.cli.checks.finding import Finding, failed, ok, warning
from dicomrelay.errors import ExitCode
from dicomrelay.runtime.home import FOLDERS
from dicomrelay.settings import Settings
from dicomrelay.text import size

# Under so many times the low-water mark there is little left.
_SOON = 2


def check_home(settings: Settings) -> Iterator[Finding]:
    """Is it there, ours, for us only; is there room."""
    home = settings.home
    if not home.exists():
        yield warning(
            "home",
            f"{home} is not there: nothing has run here yet",
            "start `dicomrelay up`, or name another --home",
        )
        return
    yield from _rights(home)
    places = (settings.archive_path, home, settings.path("spool"))
    for place in {path.stat().st_dev: path for path in places if path.is_dir()}.values():  # one line a disk
        yield _room(place, settings.gateway.min_free_bytes)


def _rights(home: Path) -> Iterator[Finding]:
    places = [home, *(home / name for name in FOLDERS if (home / name).is_dir())]
    wrong = False
    for place in places:
        state = place.stat()
        if not os.access(place, os.R_OK | os.W_OK | os.X_OK):
            wrong = True
            yield failed(
                "home",
                f"{place} belongs to user {state.st_uid} and may not be written by user {os.getuid()}",
                f"run dicomrelay as its owner, or: chown -R {os.getuid()} {home}",
                ExitCode.USAGE,
            )
        elif stat.S_IMODE(state.st_mode) & 0o077:
            wrong = True
            yield warning(
                "home",
                f"{place} is open to other users (mode {stat.S_IMODE(state.st_mode):o}): it holds images of patients",
                f"chmod 700 {place}",
            )
    if not wrong:
        yield ok("home", f"{home}, for its owner only")


def _room(place: Path, low_water: int) -> Finding:
    status = os.statvfs(place)
    free = status.f_bavail * status.f_frsize
    words = f"{size(free)} free under {place}, low-water mark {size(low_water)}"
    if free < low_water:
        return failed("disk", f"{words}: the gateway answers A700", "make room; it goes on by itself")
    if free < _SOON * low_water:
        return warning("disk", words, "make room soon: under the mark nothing is received")
    return ok("disk", words)
