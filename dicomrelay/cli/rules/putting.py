"""Puts a file of rules in the place of another: whoever reads sees one or the other, whole."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

from dicomrelay.errors import ConfigurationError

PREVIOUS: Final = ".previous"
_FRESH: Final = ".fresh"


def previous_of(path: Path) -> Path:
    """Where the file before is kept."""
    return path.with_name(path.name + PREVIOUS)


def put_in_place(path: Path, text: str) -> bool:
    """Write a text under a name, durably, and keep what was there as `<name>.previous`; whether there was anything.

    Raises
    ------
    ConfigurationError
        The folder or the file cannot be written; the file is as it was.
    """
    try:
        for left in path.parent.glob(f"{path.name}.*{_FRESH}"):
            left.unlink(missing_ok=True)
        before = _read(path)
        if before is not None:
            _write(previous_of(path), before)
        _write(path, text.encode())
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written: {error.strerror}") from error
    return before is not None


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _write(path: Path, content: bytes) -> None:
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}{_FRESH}")
    try:
        with fresh.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    finally:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
