"""The file that `dicomrelay users` keeps: read whole, written whole, by one at a time."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from dicomrelay.errors import ConfigurationError
from dicomrelay.ownership import give_to_owner_of
from dicomrelay.settings.users import AccountSettings, check_names

_LARGEST: Final = 16 << 20


class _Content(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    users: list[AccountSettings]


def identity(path: Path) -> tuple[int, int, int] | None:
    """What tells the file from the one that was there before; None when there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    except OSError:
        return 0, 0, 0  # it is there, and `read` says what is wrong with it
    return found.st_ino, found.st_size, found.st_mtime_ns


def read(path: Path) -> tuple[AccountSettings, ...]:
    """The users of a file.

    Raises
    ------
    ConfigurationError
        It cannot be read, may be written by others, or is no such file. What stands in it is not quoted.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno())
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read (users_file): {error.strerror}") from None
    if mode.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or (
        os.geteuid() and mode.st_uid not in {0, os.geteuid()}
    ):
        raise ConfigurationError(
            f"{path}: others than its owner may write it, or its owner is another user than ours: they could let anybody in. "
            f"`chown` it to the user of dicomrelay and `chmod 600` it (users_file)"
        )
    if len(content) > _LARGEST:
        raise ConfigurationError(f"{path}: is longer than 16 MiB (users_file)")
    try:
        found = _Content.model_validate_json(content)
        check_names(found.users)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(
            f"{path}: {where or 'the file'}: {first['msg'].removeprefix('Value error, ')} (users_file)"
        ) from None
    except ValueError as error:
        raise ConfigurationError(f"{path}: {error} (users_file)") from None
    return tuple(found.users)


@contextlib.contextmanager
def changing(path: Path) -> Iterator[dict[str, AccountSettings]]:
    """The users by name, to be changed in the block, and written at its end; others wait meanwhile.

    A block that raises writes nothing. A file that is not there is made.

    Raises
    ------
    ConfigurationError
        As `read`, or it cannot be written.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(
            path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
        give_to_owner_of(path.parent, lock)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written (users_file): {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        users = {user.name: user for user in read(path)} if identity(path) is not None else {}
        before = dict(users)
        yield users
        if users != before or identity(path) is None:
            _write(path, users)
    finally:
        os.close(lock)


def _write(path: Path, users: dict[str, AccountSettings]) -> None:
    content = json.dumps({"users": [_plain(user) for user in users.values()]}, indent=1, ensure_ascii=False)
    temporary = ""
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # 0600
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            give_to_owner_of(path.parent, file.fileno())
            file.write(f"{content}\n")
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).rename(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise ConfigurationError(f"{path}: cannot be written (users_file): {error.strerror}") from None


def _plain(user: AccountSettings) -> dict[str, Any]:
    """With its secrets, which are hashes, and without what is not set."""
    found: dict[str, Any] = {"name": user.name, "role": user.role.value}
    if user.password_hash is not None:
        found["password_hash"] = user.password_hash.get_secret_value()
    if user.tokens:
        found["tokens"] = [
            {
                "name": token.name,
                "hash": token.hash.get_secret_value(),
                **({"expires": token.expires.isoformat()} if token.expires else {}),
            }
            for token in user.tokens
        ]
    return found
