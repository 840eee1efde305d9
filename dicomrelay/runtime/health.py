"""Whether a service is ready, and what stands in its way; asked as often as anybody likes."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dicomrelay.errors import RelayError
from dicomrelay.runtime import home, not_ready
from dicomrelay.settings import Settings

# What a check found holds for so long: who asks often does not ask the database often.
_HOLDS_S: Final = 2.0

# Says what is wrong, in words without names of anything but services; "" for nothing.
Check = Callable[[], str]


@dataclass(frozen=True, slots=True)
class Report:
    """What was found, by the name of the check; "" where all is well."""

    found: Mapping[str, str]

    @property
    def is_ready(self) -> bool:
        """Whether all is."""
        return not any(self.found.values())

    def text(self) -> str:
        """One line a check."""
        return "".join(f"{name}: {words or 'ok'}\n" for name, words in self.found.items())


@dataclass(slots=True)
class Health:
    """The checks of one process.

    Parameters
    ----------
    checks : mapping
        By name. One that raises says its kind of error.
    """

    checks: Mapping[str, Check]
    clock: Callable[[], float] = time.monotonic
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _found: tuple[float, Report] | None = None

    def report(self) -> Report:
        """What is so now, or was two seconds ago."""
        with self._lock:
            now = self.clock()
            if self._found is None or now - self._found[0] >= _HOLDS_S:
                self._found = now, Report({name: _asked(check) for name, check in self.checks.items()})
            return self._found[1]


class Started:
    """Becomes ready once, when the service says so."""

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        self._then = then
        self._is_ready = threading.Event()

    def __call__(self) -> None:
        """It is."""
        self._is_ready.set()
        self._then()

    def check(self) -> str:
        """For `Health`."""
        return "" if self._is_ready.is_set() else "starts"


def room_for(settings: Settings) -> Check:
    """Whether the gateway takes instances, as far as the disk goes."""
    path, mark = settings.path("spool"), settings.gateway.min_free_bytes

    def check() -> str:
        status = os.statvfs(path)
        free = status.f_bavail * status.f_frsize
        return "" if free >= mark else "the disk of the spool is under its low-water mark"

    return check


def services_of(settings: Settings) -> Check:
    """Whether everything that `dicomrelay up` keeps alive is ready."""
    run: Path = settings.path("run")

    def check() -> str:
        if not home.HomeLock(settings).is_held():
            return "`dicomrelay up` does not run"
        if (run / "ready").exists():
            return ""
        names = sorted(each.name for each in not_ready.shown(run))
        return f"not ready: {', '.join(names)}" if names else "starts"

    return check


def _asked(check: Check) -> str:
    try:
        return check()
    except (RelayError, OSError) as error:  # its words may hold an address
        return f"does not answer ({type(error).__name__})"
