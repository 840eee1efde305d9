"""Whose an Authorization field is, by settings and users file as they are now (RFC 7617, RFC 6750)."""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from dicomrelay.access import users_file
from dicomrelay.access.users import User, Users
from dicomrelay.errors import ConfigurationError
from dicomrelay.log import get_logger
from dicomrelay.settings import AccountSettings, Settings

_LOOK_AGAIN_S: Final = 1.0
_LARGEST_FIELD: Final = 4096
_MOST_KNOWN: Final = 1024
_log = get_logger("dicomrelay.access")


class Doorkeeper:
    """Knows the users. Safe for several threads.

    Parameters
    ----------
    also : sequence of AccountSettings
        Users of this door only.
    clock : callable
        Seconds, monotonic.

    Raises
    ------
    ConfigurationError
        The users file is there and cannot be read now. Later that is logged, and nobody comes in by it.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        also: Sequence[AccountSettings] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path: Path = settings.users_path
        self._own: tuple[AccountSettings, ...] = (*settings.users, *also)
        self._clock = clock
        self._key = os.urandom(32)
        self._lock = threading.Lock()
        self._look_at = clock() + _LOOK_AGAIN_S
        self._seen = users_file.identity(self._path)
        # Once there was a file, its loss opens nothing.
        self._had_file = self._seen is not None
        accounts = users_file.read(self._path) if self._had_file else ()
        self._users = Users.of((*self._own, *accounts))
        # Passwords that were found right, so that scrypt is not asked for each frame.
        self._known: OrderedDict[bytes, User] = OrderedDict()

    @property
    def is_on(self) -> bool:
        """Whether the door asks: there are users, or there is a file for them."""
        self._refresh()
        return self._had_file or bool(self._own)

    def known(self, field: bytes) -> User | None:
        """Who shows an Authorization field, where that is quick to say: any token, and a password checked before."""
        self._refresh()
        scheme, _, rest = field.partition(b" ")
        if len(field) > _LARGEST_FIELD:
            return None
        if scheme.lower() == b"bearer":
            return self._users.by_token(rest.strip())
        with self._lock:
            return self._known.get(self._mac(field))

    def checked(self, field: bytes) -> User | None:
        """The same with a password that is looked at now: a quarter of a second, for a thread. None: nobody's."""
        scheme, _, rest = field.partition(b" ")
        if scheme.lower() != b"basic" or len(field) > _LARGEST_FIELD:
            return None
        try:
            name, colon, password = base64.b64decode(rest.strip(), validate=True).partition(b":")
            user_name = name.decode()
        except (binascii.Error, UnicodeDecodeError):
            return None
        users = self._users
        user = users.by_password(user_name, password) if colon else None
        if user is not None:
            with self._lock:
                if self._users is users:  # not of a file that changed meanwhile
                    self._known[self._mac(field)] = user
                    while len(self._known) > _MOST_KNOWN:
                        self._known.popitem(last=False)
        return user

    def _mac(self, secret: bytes) -> bytes:
        return hmac.digest(self._key, secret, "sha256")

    def _refresh(self) -> None:
        if self._clock() < self._look_at:
            return
        with self._lock:
            self._look_at = self._clock() + _LOOK_AGAIN_S
            seen = users_file.identity(self._path)
            if seen == self._seen:
                return
            self._seen = seen
            self._known.clear()
            self._had_file = self._had_file or seen is not None
            try:
                self._users = Users.of((*self._own, *users_file.read(self._path)))
            except ConfigurationError as error:
                self._users = Users.of(self._own)
                _log.error("nobody comes in by the users file", action="access.file", error=str(error))
