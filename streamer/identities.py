"""Who comes in: by `[streamer.access]`, and by the users of the house (docs/design/access.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dicomrelay.access import Doorkeeper, Role, User, challenge
from streamer.credentials import Credentials


@dataclass(frozen=True, slots=True)
class Caller:
    """Who came in: "token 1", "user NAME", and what it may."""

    name: str
    role: Role


# What these could do before there were roles.
_OF_ACCESS: Final = Role.OPERATOR


class Identities:
    """Both sources as one. Safe for several threads.

    Parameters
    ----------
    credentials : Credentials, optional
        Of `[streamer.access]`.
    keeper : Doorkeeper, optional
        Of `[[users]]` and the users file.
    """

    def __init__(self, credentials: Credentials | None, keeper: Doorkeeper | None) -> None:
        self._credentials = credentials
        self._keeper = keeper

    @property
    def is_on(self) -> bool:
        """Whether anybody is asked."""
        return self._credentials is not None or (self._keeper is not None and self._keeper.is_on)

    def challenge(self) -> bytes:
        """The value of WWW-Authenticate."""
        if self._credentials is not None and (self._keeper is None or not self._keeper.is_on):
            return self._credentials.challenge()
        return challenge().encode()

    def known(self, field: bytes) -> Caller | None:
        """Who shows an Authorization field, where that is quick to say."""
        found = self._credentials.known(field) if self._credentials is not None else None
        if found is not None:
            return Caller(found, _OF_ACCESS)
        return _caller(self._keeper.known(field)) if self._keeper is not None else None

    def checked(self, field: bytes) -> Caller | None:
        """The same with a password that is looked at now, for a thread."""
        found = self._credentials.checked(field) if self._credentials is not None else None
        if found is not None:
            return Caller(found, _OF_ACCESS)
        return _caller(self._keeper.checked(field)) if self._keeper is not None else None


def _caller(user: User | None) -> Caller | None:
    return None if user is None else Caller(f"user {user.name}", user.role)
