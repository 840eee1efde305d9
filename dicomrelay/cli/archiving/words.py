"""Small words of the commands: levels by name, counts, formats, orders."""

from __future__ import annotations

from typing import Final

from archive.attributes import Level
from dicomrelay.cli.options import Invocation
from dicomrelay.cli.progress import duration
from dicomrelay.errors import ConfigurationError

LEVEL_NAMES: Final = {
    Level.PATIENT: "patient",
    Level.STUDY: "study",
    Level.SERIES: "series",
    Level.INSTANCE: "instance",
}
_MANY: Final = {
    Level.PATIENT: "patients",
    Level.STUDY: "studies",
    Level.SERIES: "series",
    Level.INSTANCE: "instances",
}


def level_named(name: str) -> Level:
    """The level of that name."""
    return next(level for level, each in LEVEL_NAMES.items() if each == name)


def counted(count: int, level: Level) -> str:
    """Such as "1 study" or "3 studies"."""
    return f"{count} {LEVEL_NAMES[level] if count == 1 else _MANY[level]}"


def many(count: int, one: str) -> str:
    """Such as "1 file" or "3 files"."""
    return f"{count} {one}{'' if count == 1 else 's'}"


def format_named(invocation: Invocation, given: str | None, default: str) -> str:
    """The format that is meant, of `--format` and `--json`.

    Raises
    ------
    ConfigurationError
        They are not of one mind.
    """
    if invocation.as_json and given not in {None, "json"}:
        raise ConfigurationError(f"--json and --format {given}: choose one")
    return "json" if invocation.as_json else given or default


def took(seconds: float) -> str:
    """How long something took: 0.4 s, 12.3 s, 2:05."""
    return f"{seconds:.1f} s" if seconds < 60 else duration(seconds)
