"""Who may come in: bearer tokens (RFC 6750) and users with passwords (RFC 7617), from settings and files.

No secret is kept: what is looked for is its HMAC under a key that lives as long as the process.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Final

from dicomrelay.errors import ConfigurationError
from dicomrelay.log import get_logger
from dicomrelay.net.identity import PasscodeHash
from dicomrelay.settings import StreamerAccessSettings
from dicomrelay.settings.streamer import TOKEN

_LOOK_AGAIN_S: Final = 1.0
_LARGEST_FILE: Final = 1 << 20
_LARGEST_FIELD: Final = 4096
_MOST_KNOWN: Final = 1024
_log = get_logger("dicomrelay.streamer")


class Credentials:
    """What `[streamer.access]` says, as far as its files can be read.

    Raises
    ------
    ConfigurationError
        A file cannot be read now, or holds no token or user. Later that is logged, and the file lets nobody in.
    """

    def __init__(
        self, settings: StreamerAccessSettings, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._key = os.urandom(32)
        self._clock = clock
        self._look_at = 0.0
        self._lock = threading.Lock()
        self._files: list[tuple[Path, Callable[[str], None]]] = []
        self._settings = settings
        self._seen: list[tuple[int, int, int] | None] = []
        self._tokens: dict[bytes, str] = {}
        self._users: dict[str, PasscodeHash] = {}
        # Fields that were found to be right, so that scrypt is not asked for each frame.
        self._known: OrderedDict[bytes, str] = OrderedDict()
        self._nobody = PasscodeHash.of(os.urandom(16).hex())
        self._own_password = (
            None if settings.password is None else PasscodeHash.of(settings.password.get_secret_value())
        )
        self.takes_tokens = settings.token is not None or settings.tokens_file is not None
        self.takes_users = settings.user is not None or settings.users_file is not None
        self._read(is_start=True)

    def challenge(self) -> bytes:
        """The value of WWW-Authenticate."""
        schemes = [
            *(("Basic",) if self.takes_users else ()),
            *(("Bearer",) if self.takes_tokens else ()),
        ]
        return ", ".join(
            f'{scheme} realm="dicomrelay"' + (', charset="UTF-8"' if scheme == "Basic" else "")
            for scheme in schemes
        ).encode()

    def known(self, field: bytes) -> str | None:
        """Who shows an Authorization field, where that is quick to say: any token, and a password that was checked before."""
        if self._clock() >= self._look_at:
            self._refresh()
        scheme, _, rest = field.partition(b" ")
        if scheme.lower() == b"bearer":
            return self.token(rest.strip())
        with self._lock:
            return self._known.get(self._mac(field))

    def token(self, token: bytes) -> str | None:
        """Whose bearer token that is: "token 3" for the third line of the file."""
        return self._tokens.get(self._mac(token)) if len(token) <= _LARGEST_FIELD else None

    def checked(self, field: bytes) -> str | None:
        """The same with a password that is looked at now: some 50 ms, for a thread. None: nobody's."""
        scheme, _, rest = field.partition(b" ")
        if scheme.lower() != b"basic" or not self.takes_users or len(field) > _LARGEST_FIELD:
            return None
        try:
            name, colon, password = base64.b64decode(rest.strip(), validate=True).partition(b":")
            user = name.decode()
        except (binascii.Error, UnicodeDecodeError):
            return None
        users = self._users
        # A name that nobody has costs what a wrong password costs.
        is_right = users.get(user, self._nobody).matches(password) and user in users and bool(colon)
        if not is_right:
            return None
        with self._lock:
            if self._users is users:  # not of a file that changed meanwhile
                self._known[self._mac(field)] = f"user {user}"
                while len(self._known) > _MOST_KNOWN:
                    self._known.popitem(last=False)
        return f"user {user}"

    def _mac(self, secret: bytes) -> bytes:
        return hmac.digest(self._key, secret, "sha256")

    def _refresh(self) -> None:
        self._look_at = self._clock() + _LOOK_AGAIN_S
        if [_identity(path) for path in self._paths()] != self._seen:
            self._read(is_start=False)

    def _paths(self) -> list[Path]:
        return [path for path in (self._settings.tokens_file, self._settings.users_file) if path is not None]

    def _read(self, *, is_start: bool) -> None:
        seen = [_identity(path) for path in self._paths()]
        tokens: dict[bytes, str] = {}
        users: dict[str, PasscodeHash] = {}
        if self._settings.token is not None:
            tokens[self._mac(self._settings.token.get_secret_value().encode())] = "token"
        if self._settings.user is not None and self._own_password is not None:
            users[self._settings.user] = self._own_password
        for read in (self._read_tokens, self._read_users):
            try:
                read(tokens, users)
            except ConfigurationError as error:
                if is_start:
                    raise
                _log.error("nobody comes in by a file", action="streamer.access", error=str(error))
        with self._lock:
            self._seen, self._tokens, self._users = seen, tokens, users
            self._known.clear()

    def _read_tokens(self, tokens: dict[bytes, str], _users: dict[str, PasscodeHash]) -> None:
        path = self._settings.tokens_file
        found = {}
        for number, line in enumerate(_lines(path, "tokens_file"), start=1) if path else ():
            if not TOKEN.fullmatch(line):
                raise ConfigurationError(
                    f"{path}: token {number} is none: 16 to 1024 of the characters A-Z a-z 0-9 . _ ~ + - "
                    "(streamer.access.tokens_file)"
                )
            found[self._mac(line.encode())] = f"token {number}"
        tokens.update(found)

    def _read_users(self, _tokens: dict[bytes, str], users: dict[str, PasscodeHash]) -> None:
        path = self._settings.users_file
        found = {}
        for number, line in enumerate(_lines(path, "users_file"), start=1) if path else ():
            name, _, hashed = line.rpartition(":")
            if not name or name in found or ":" in name:
                raise ConfigurationError(
                    f"{path}: user {number} has no name, a name with a colon, or one that stands there twice "
                    "(streamer.access.users_file)"
                )
            try:
                found[name] = PasscodeHash.parse(hashed)
            except ConfigurationError as error:
                raise ConfigurationError(f"{path}: what stands behind user {number} {error}") from None
        users.update(found)


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _lines(path: Path, key: str) -> list[str]:
    """What is no comment and not empty."""
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise ConfigurationError(
            f"{path}: cannot be read (streamer.access.{key}): {error.strerror}"
        ) from None
    try:
        if len(content) > _LARGEST_FILE:
            raise ValueError
        lines = [line.strip() for line in content.decode().splitlines()]
    except ValueError:
        raise ConfigurationError(f"{path}: is no text of at most 1 MiB (streamer.access.{key})") from None
    found = [line for line in lines if line and not line.startswith("#")]
    if not found:
        raise ConfigurationError(f"{path}: holds nobody (streamer.access.{key})")
    return found
