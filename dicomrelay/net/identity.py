"""User identity (PS3.7 Annex D.3.3.7): hashes of passcodes, and what a requestor shows.

`python -m dicomrelay.net.identity` asks for a passcode and prints its hash, for `passcode_hash` in the settings.
"""

from __future__ import annotations

import base64
import binascii
import getpass
import hashlib
import hmac
import os
import sys
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from dicomrelay.errors import ConfigurationError
from dicomrelay.settings import DestinationIdentitySettings
from dicomrelay.ul.pdu import UserIdentity

# 16 MiB and some 50 ms a guess (RFC 7914 Section 2).
_COST: Final = 1 << 14
_BLOCK_SIZE: Final = 8
_PARALLELISM: Final = 1
_SALT_BYTES: Final = 16
_DIGEST_BYTES: Final = 32
# A hash in the settings may not ask for more than this, in bytes.
_MAX_MEMORY: Final = 256 << 20
_MAX_TOKEN_BYTES: Final = 60_000


class IdentityType(IntEnum):
    """PS3.7 Table D.3-14."""

    USER_NAME = 1
    USER_NAME_AND_PASSCODE = 2
    KERBEROS = 3
    SAML = 4
    JWT = 5


@dataclass(frozen=True, slots=True)
class PasscodeHash:
    """A salted scrypt hash. Its text is `scrypt$N$r$p$salt$digest`, the last two in base64."""

    cost: int
    block_size: int
    parallelism: int
    salt: bytes
    digest: bytes = field(repr=False)

    @classmethod
    def of(cls, passcode: str, *, parallelism: int = _PARALLELISM) -> PasscodeHash:
        """The hash of a passcode, with a new salt; so many times the work as `parallelism` says."""
        salt = os.urandom(_SALT_BYTES)
        bare = cls(_COST, _BLOCK_SIZE, parallelism, salt, b"")
        return cls(_COST, _BLOCK_SIZE, parallelism, salt, bare._derive(passcode.encode()))

    @classmethod
    def parse(cls, text: str) -> PasscodeHash:
        """A hash from its text.

        Raises
        ------
        ConfigurationError
            It is none, or asks for more memory than we grant; the text is not quoted.
        """
        try:
            scheme, cost, block_size, parallelism, salt, digest = text.split("$")
            hashed = cls(
                int(cost),
                int(block_size),
                int(parallelism),
                base64.b64decode(salt, validate=True),
                base64.b64decode(digest, validate=True),
            )
        except (ValueError, binascii.Error):
            scheme = ""
        if scheme != "scrypt" or not hashed._is_sound():
            raise ConfigurationError(
                "is no passcode hash: `python -m dicomrelay.net.identity` prints one, beginning with scrypt$"
            )
        return hashed

    def matches(self, passcode: bytes) -> bool:
        """Whether that is the passcode; takes the same time whatever it is."""
        return hmac.compare_digest(self._derive(passcode), self.digest)

    def __str__(self) -> str:
        salt, digest = (base64.b64encode(raw).decode() for raw in (self.salt, self.digest))
        return f"scrypt${self.cost}${self.block_size}${self.parallelism}${salt}${digest}"

    def _is_sound(self) -> bool:
        return (
            self.cost > 1
            and self.cost & (self.cost - 1) == 0
            and min(self.block_size, self.parallelism) > 0
            and 128 * self.block_size * (self.cost + self.parallelism) <= _MAX_MEMORY
            and len(self.salt) >= _SALT_BYTES // 2
            and len(self.digest) == _DIGEST_BYTES
        )

    def _derive(self, passcode: bytes) -> bytes:
        return hashlib.scrypt(
            # Hashed first: as it is, "x" and "x\0" would be one key to the HMAC inside (RFC 2104 Section 2).
            hashlib.sha256(passcode).digest(),
            salt=self.salt,
            n=self.cost,
            r=self.block_size,
            p=self.parallelism,
            maxmem=_MAX_MEMORY + (1 << 20),
            dklen=_DIGEST_BYTES,
        )


def shown_identity(settings: DestinationIdentitySettings, *, where: str = "identity") -> UserIdentity:
    """What a destination is shown; a token is read from its file now.

    Parameters
    ----------
    where : str
        The setting, for the words of errors: "destinations.pacs.identity".

    Raises
    ------
    ConfigurationError
        The token's file cannot be read, or holds no token.
    """
    if settings.jwt_file is not None:
        return UserIdentity(IdentityType.JWT, settings.confirm, _token(settings, where))
    name = (settings.user or "").encode()
    if settings.passcode is None:
        return UserIdentity(IdentityType.USER_NAME, settings.confirm, name)
    passcode = settings.passcode.get_secret_value().encode()
    return UserIdentity(IdentityType.USER_NAME_AND_PASSCODE, settings.confirm, name, passcode)


def _token(settings: DestinationIdentitySettings, where: str) -> bytes:
    path = settings.jwt_file
    assert path is not None  # noqa: S101 - the caller has looked
    try:
        with path.open("rb") as file:
            token = file.read(_MAX_TOKEN_BYTES + 1).strip()
    except OSError as error:
        raise ConfigurationError(
            f"{path}: the token ({where}.jwt_file) cannot be read: {error.strerror}"
        ) from error
    # Three parts in base64url (RFC 7519 Section 3, RFC 7515 Section 7.1); what they say is the peer's to judge.
    if len(token) > _MAX_TOKEN_BYTES or token.count(b".") != 2 or not token.isascii() or b" " in token:
        raise ConfigurationError(f"{path}: holds no JSON web token ({where}.jwt_file)")
    return token


def main() -> None:
    """Ask for a passcode, twice in a terminal, and print its hash."""
    if sys.stdin.isatty():
        passcode = getpass.getpass("Passcode: ")
        if getpass.getpass("Again: ") != passcode:
            sys.exit("the two are not the same")
    else:
        passcode = sys.stdin.readline().rstrip("\n")
    if not passcode:
        sys.exit("a passcode has at least one character")
    sys.stdout.write(f"{PasscodeHash.of(passcode)}\n")


if __name__ == "__main__":
    main()
