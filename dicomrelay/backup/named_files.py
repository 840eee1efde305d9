"""The files that the settings name, and which of them may be in a backup."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import BaseModel

from dicomrelay.settings import Settings

# Of no secret in clear: rules are plain, and of passwords and tokens the users file has hashes.
_OPEN: Final = frozenset({"rules_file", "users_file"})
_CERTIFICATES: Final = frozenset({"ca", "certificate", "token_ca"})
_PRIVATE_KEY: Final = b"PRIVATE KEY"
# What is longer is no file of settings.
MOST_BYTES: Final = 16 << 20


@dataclass(frozen=True, slots=True)
class Named:
    """A file that a setting names."""

    key: str
    path: Path


def named_files(settings: Settings) -> Iterator[Named]:
    """Every file of the settings, each path once; folders are none, nor what is not there."""
    seen: set[Path] = set()
    found = list(_paths(settings, ""))
    found += [("users_file", settings.users_path)]
    for key, path in found:
        absolute = (settings.home / path.expanduser()).absolute()
        if absolute not in seen and absolute.is_file():
            seen.add(absolute)
            yield Named(key, absolute)


def is_secret(named: Named, content: bytes) -> bool:
    """Whether a file is left out of a backup without secrets."""
    last = named.key.rpartition(".")[2]
    if last in _OPEN:
        return False
    return last not in _CERTIFICATES or _PRIVATE_KEY in content


def _paths(value: object, key: str) -> Iterator[tuple[str, Path]]:
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _paths(getattr(value, name), f"{key}.{name}" if key else name)
    elif isinstance(value, list | tuple):
        for number, each in enumerate(value):
            yield from _paths(each, f"{key}.{number}")
    elif isinstance(value, Path):
        yield key, value
