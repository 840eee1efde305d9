"""Puts a file of rules in the place of another: whoever reads sees one or the other, whole."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from dicomrelay.errors import ConfigurationError

PREVIOUS: Final = ".previous"
_FRESH: Final = ".fresh"


def previous_of(path: Path) -> Path:
    """Where the file before is kept: beside the file itself, where the name is a link."""
    path = path.resolve()
    return path.with_name(path.name + PREVIOUS)


def text_before(path: Path) -> bytes | None:
    """What is there; None where there is nothing.

    Raises
    ------
    ConfigurationError
        It cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error


def put_in_place(path: Path, text: str, before: bytes | None) -> None:
    """Write a text under a name, durably, and keep what was `before` as `<name>.previous`.

    Mode and, where we may, owner stay those of the file that was there.

    Raises
    ------
    ConfigurationError
        The folder or the file cannot be written; the file is as it was.
    """
    # Where the name is a link, it stays one.
    path = path.resolve()
    try:
        for left in path.parent.glob(f"{path.name}.*{_FRESH}"):
            left.unlink(missing_ok=True)
        like = None if before is None else path.stat()
        if before is not None:
            _write(previous_of(path), before, like)
        _write(path, text.encode(), like)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written: {error.strerror}") from error


def _write(path: Path, content: bytes, like: os.stat_result | None) -> None:
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}{_FRESH}")
    try:
        with fresh.open("xb") as file:
            if like is not None:
                with suppress(OSError):  # not ours to give: then it is ours
                    os.fchown(file.fileno(), like.st_uid, like.st_gid)
                os.fchmod(file.fileno(), stat.S_IMODE(like.st_mode))
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
