"""Who the user of a requestor is, and whether that is so (PS3.7 Annex D.3.3.7)."""

from __future__ import annotations

import hmac
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from dicomrelay.errors import ConfigurationError
from dicomrelay.net.identity import IdentityType, PasscodeHash
from dicomrelay.net.service import Rejection
from dicomrelay.settings import GatewayIdentitySettings, TokenSettings, UserSettings
from dicomrelay.ul.pdu import UserIdentity
from scp_gateway.failure_limit import FailureLimit

if TYPE_CHECKING:
    from scp_gateway.tokens import TokenCheck

# Permanent, service provider (ACSE): so says PS3.7 Annex D.3.3.7.3.
NOT_AUTHENTICATED: Final = Rejection(result=1, source=2, reason=1)
TOO_MANY_FAILURES: Final = Rejection(result=2, source=3, reason=2)

_CHECKS_AT_ONCE: Final = 2  # each takes 16 MiB and a core
_CHECK_WAIT_S: Final = 10.0
_REMEMBERED: Final = 256
_REMEMBERED_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class Identified:
    """An identity that holds, or none where none is needed.

    Attributes
    ----------
    user : str
        "" for none.
    response : bytes or None
        The server response; None when none was asked for.
    """

    user: str = ""
    response: bytes | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """An identity that does not hold; `why` is for the log and holds nothing of the identity itself."""

    rejection: Rejection
    why: str


class IdentityCheck:
    """Checks identities by the settings; for all threads of a listener.

    Raises
    ------
    ConfigurationError
        A hash is none, or the key file cannot be used.
    """

    def __init__(
        self, settings: GatewayIdentitySettings, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.required = settings.required
        self._users: dict[str, PasscodeHash | None] = {}
        for number, user in enumerate(settings.users):
            try:
                self._users[user.name] = _hash_of(user)
            except ConfigurationError as error:
                raise ConfigurationError(f"gateway.identity.users.{number}.passcode_hash: {error}") from None
        self._token = _token_check(settings.token) if settings.token is not None else None
        self._nobody = PasscodeHash.of(os.urandom(16).hex())
        self._limit = FailureLimit(settings.max_failures, clock)
        self._remembered = _Remembered(clock)
        self._checks = threading.BoundedSemaphore(_CHECKS_AT_ONCE)

    def check(
        self, identity: UserIdentity | None, peer_address: str, *, required: bool
    ) -> Identified | Refused:
        """Whether an identity holds; may take a while."""
        if identity is None:
            return Refused(NOT_AUTHENTICATED, "no user identity") if required else Identified()
        if not self._limit.begin(peer_address):
            return Refused(TOO_MANY_FAILURES, "too many failures from this address")
        has_failed = False
        try:
            answer = self._answer(identity)
            has_failed = isinstance(answer, Refused) and answer.rejection == NOT_AUTHENTICATED
        finally:
            self._limit.end(peer_address, failed=has_failed)
        if isinstance(answer, Refused):
            return answer
        return Identified(answer, b"" if identity.response_requested else None)

    def _answer(self, identity: UserIdentity) -> str | Refused:
        kind = identity.identity_type
        if kind == IdentityType.USER_NAME:
            return self._by_name(identity.primary_field)
        if kind == IdentityType.USER_NAME_AND_PASSCODE:
            return self._by_passcode(identity.primary_field, identity.secondary_field)
        if kind == IdentityType.JWT and self._token is not None:
            subject, why = self._token.subject(identity.primary_field)
            return subject or Refused(NOT_AUTHENTICATED, f"the token does not hold: {why}")
        return Refused(NOT_AUTHENTICATED, f"user identity type {kind} is not checked here")

    def _by_name(self, raw: bytes) -> str | Refused:
        name = _text(raw)
        if name in self._users and self._users[name] is None:
            return name
        return Refused(NOT_AUTHENTICATED, "the user name is unknown, or wants a passcode")

    def _by_passcode(self, raw: bytes, passcode: bytes) -> str | Refused:
        name = _text(raw)
        is_known = name in self._users
        hashed = self._users.get(name, self._nobody)
        if hashed is None or (is_known and self._remembered.holds(name, passcode)):
            return name
        if not self._checks.acquire(timeout=_CHECK_WAIT_S):
            return Refused(TOO_MANY_FAILURES, "too many passcodes to check")
        try:
            is_right = hashed.matches(passcode)
        finally:
            self._checks.release()
        if not (is_right and is_known):
            return Refused(NOT_AUTHENTICATED, "unknown user name or wrong passcode")
        self._remembered.add(name, passcode)
        return name


class _Remembered:
    """Passcodes that held a short while ago, as digests under a key that dies with the process."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._key = os.urandom(32)
        self._until: OrderedDict[bytes, float] = OrderedDict()
        self._lock = threading.Lock()

    def holds(self, name: str, passcode: bytes) -> bool:
        with self._lock:
            return self._until.get(self._digest(name, passcode), 0.0) > self._clock()

    def add(self, name: str, passcode: bytes) -> None:
        with self._lock:
            self._until[self._digest(name, passcode)] = self._clock() + _REMEMBERED_S
            if len(self._until) > _REMEMBERED:
                self._until.popitem(last=False)

    def _digest(self, name: str, passcode: bytes) -> bytes:
        return hmac.digest(self._key, b"%d %s%s" % (len(name), name.encode(), passcode), sha256)


def _token_check(settings: TokenSettings) -> TokenCheck:
    # Late: 8 MiB of cryptography that a gateway without tokens can do without.
    from scp_gateway.tokens import TokenCheck  # noqa: PLC0415

    return TokenCheck(settings)


def _hash_of(user: UserSettings) -> PasscodeHash | None:
    if user.passcode is not None:
        return PasscodeHash.of(user.passcode.get_secret_value())
    return (
        PasscodeHash.parse(user.passcode_hash.get_secret_value()) if user.passcode_hash is not None else None
    )


def _text(raw: bytes) -> str:
    """A name in UTF-8; what is no name at all is nobody's."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return ""
