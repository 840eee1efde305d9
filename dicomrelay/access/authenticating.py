"""Whose an Authorization field is, for Flower: one doorkeeper a process, failures counted by address."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

from pydantic import SecretStr

from dicomrelay.access.doorkeeper import Doorkeeper
from dicomrelay.access.users import User
from dicomrelay.net.identity import PasscodeHash
from dicomrelay.settings import AccountSettings, Role, Settings

MOST_FAILURES: Final = 10
_WINDOW_S: Final = 60.0
_MOST_ADDRESSES: Final = 4096
_PASSWORDS_AT_ONCE: Final = 2


class Failures:
    """How often an address failed in the last minute; the one that failed longest ago is forgotten. For all threads."""

    def __init__(self, most: int = MOST_FAILURES, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._when: OrderedDict[str, deque[float]] = OrderedDict()

    def are_too_many(self, address: str) -> bool:
        """Whether that address has to wait."""
        with self._lock:
            moments = self._when.get(address)
            while moments and moments[0] <= self._clock() - _WINDOW_S:
                moments.popleft()
            return moments is not None and len(moments) >= self._most

    def count(self, address: str) -> None:
        """One more."""
        with self._lock:
            self._when.setdefault(address, deque(maxlen=self._most)).append(self._clock())
            self._when.move_to_end(address)
            if len(self._when) > _MOST_ADDRESSES:
                self._when.popitem(last=False)


class _Door:
    def __init__(self, settings: Settings) -> None:
        monitor = settings.monitor
        also: list[AccountSettings] = []
        if monitor.user is not None and monitor.password is not None:
            # As it always was: who is named there may do what Flower lets do. Its name may have any characters.
            hashed = SecretStr(str(PasscodeHash.of(monitor.password.get_secret_value())))
            also.append(
                AccountSettings.model_construct(
                    name=monitor.user, role=Role.OPERATOR, password_hash=hashed, tokens=[]
                )
            )
        self.keeper = Doorkeeper(settings, also=also)
        self.failures = Failures()
        self.passwords = threading.BoundedSemaphore(_PASSWORDS_AT_ONCE)


_doors: dict[int, tuple[Settings, _Door]] = {}
_doors_lock = threading.Lock()


def is_asked(settings: Settings) -> bool:
    """Whether Flower's door asks who comes: there are users, a users file, or `monitor.user`.

    Raises
    ------
    ConfigurationError
        The users file is there and cannot be read; at the first call in a process only.
    """
    return _door(settings).keeper.is_on


def authenticate(settings: Settings, header: str | None, *, address: str = "") -> User | None:
    """Whose an Authorization field is; None when nobody's, or when too many failures came from that address.

    Takes a quarter of a second for a password that is seen for the first time: call it in a thread.

    Parameters
    ----------
    header : str or None
        The field's value, as it came.
    address : str
        Whose failures are counted.

    Raises
    ------
    ConfigurationError
        As `is_asked`.
    """
    door = _door(settings)
    try:
        field = (header or "").encode("latin-1")
    except UnicodeEncodeError:
        return None
    if not field:
        return None
    if field[:7].lower() == b"bearer ":
        user = door.keeper.known(field)  # too long to be guessed: others' failures do not shut it out
    elif door.failures.are_too_many(address):
        return None
    else:
        user = door.keeper.known(field)
        if user is None:
            with door.passwords:
                if door.failures.are_too_many(address):
                    return None
                user = door.keeper.checked(field)
    if user is None:
        door.failures.count(address)
    return user


def challenge() -> str:
    """The value of WWW-Authenticate for an answer 401."""
    return 'Basic realm="dicomrelay", charset="UTF-8", Bearer realm="dicomrelay"'


def _door(settings: Settings) -> _Door:
    with _doors_lock:
        found = _doors.get(id(settings))
        if found is None:
            found = _doors[id(settings)] = settings, _Door(settings)
        return found[1]
