"""Users by what they show: passwords and tokens, as values."""

from __future__ import annotations

import hashlib
import secrets
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Final

from dicomrelay.errors import ConfigurationError
from dicomrelay.net.identity import PasscodeHash
from dicomrelay.settings.users import AccountSettings, Role

SHORTEST_PASSWORD: Final = 12
LONGEST_PASSWORD: Final = 1024
# Five times the work of one lane: N = 2^14, r = 8, p = 5 (OWASP, Password Storage Cheat Sheet).
_LANES: Final = 5
_TOKEN_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class User:
    """Who came in.

    Attributes
    ----------
    by : str
        What was shown: "password", or "token NAME".
    """

    name: str
    role: Role
    by: str = "password"


@dataclass(frozen=True, slots=True)
class _Token:
    user: User
    expires: date | None


@dataclass(frozen=True, slots=True)
class Users:
    """Everybody who may come in, ready to be asked for."""

    passwords: Mapping[str, tuple[User, PasscodeHash]] = field(repr=False)
    tokens: Mapping[str, _Token] = field(repr=False)

    @classmethod
    def of(cls, accounts: Iterable[AccountSettings]) -> Users:
        """From settings or file.

        Raises
        ------
        ConfigurationError
            A name or a token stands twice, or a hash is none; it names the user.
        """
        passwords: dict[str, tuple[User, PasscodeHash]] = {}
        tokens: dict[str, _Token] = {}
        seen: set[str] = set()
        for account in accounts:
            if account.name in seen:
                raise ConfigurationError(
                    f"users: {account.name!r} stands twice, in the settings and in the users file"
                )
            seen.add(account.name)
            if account.password_hash is not None:
                passwords[account.name] = User(account.name, account.role), _hash_of(account)
            for token in account.tokens:
                hashed = token.hash.get_secret_value()
                if hashed in tokens:
                    raise ConfigurationError(f"users: token {token.name!r} of {account.name!r} stands twice")
                tokens[hashed] = _Token(
                    User(account.name, account.role, f"token {token.name}"), token.expires
                )
        return cls(passwords, tokens)

    def by_token(self, token: bytes, today: date | None = None) -> User | None:
        """Whose token that is; nobody's once its last day is over."""
        # What is looked for is a hash of 256 random bits: the time it takes says nothing that helps.
        found = self.tokens.get(hash_of_token(token))
        if found is None:
            return None
        is_over = found.expires is not None and (today or datetime.now(UTC).date()) > found.expires
        return None if is_over else found.user

    def by_password(self, name: str, password: bytes) -> User | None:
        """Whose name and password these are; takes as long for a name that nobody has."""
        found = self.passwords.get(name)
        if found is None:
            self._costliest().matches(password)
            return None
        user, hashed = found
        return user if hashed.matches(normal(password)) else None

    def _costliest(self) -> PasscodeHash:
        every = (hashed for _, hashed in self.passwords.values())
        return max(every, key=lambda one: one.cost * one.block_size * one.parallelism, default=_NOBODYS)


def normal(password: bytes) -> bytes:
    """A password in normal form C, as keyboards differ in what they send (RFC 8265 Section 4.2); other bytes as they are."""
    try:
        return unicodedata.normalize("NFC", password.decode()).encode()
    except UnicodeDecodeError:
        return password


def hash_of_password(password: str) -> str:
    """What is kept of a password: 16 MiB and a quarter of a second."""
    return str(PasscodeHash.of(unicodedata.normalize("NFC", password), parallelism=_LANES))


def hash_of_token(token: bytes) -> str:
    """What is kept of a token."""
    return f"sha256${hashlib.sha256(token).hexdigest()}"


def new_token() -> str:
    """256 random bits, in characters that a URL, a field and a WebSocket's subprotocol can have."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def refusal_of(password: str, name: str) -> str:
    """Why that is no password for that user; "" for a good one (NIST SP 800-63B Section 5.1.1.2: length, not classes)."""
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        return f"a password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters"
    if not password.isprintable():
        return "a password has no control characters"
    if name and name.casefold() in password.casefold() and len(name) > len(password) // 2:
        return "the password is the name"
    if len(set(password)) < 4:
        return "the password has fewer than four different characters"
    return ""


def _hash_of(account: AccountSettings) -> PasscodeHash:
    assert account.password_hash is not None  # noqa: S101 - the caller has looked
    try:
        return PasscodeHash.parse(account.password_hash.get_secret_value())
    except ConfigurationError:
        raise ConfigurationError(
            f"users: password_hash of {account.name!r} is none: `dicomrelay users hash` prints one"
        ) from None


# What a name costs that nobody has, where nobody has a password; its own is no text that could be typed.
_NOBODYS: Final = PasscodeHash(1 << 14, 8, _LANES, b"\0" * 16, b"\0" * 32)
