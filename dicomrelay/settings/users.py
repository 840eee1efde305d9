"""Users of HTTP: names, roles, and the hashes of what they show (docs/design/access.md)."""

from __future__ import annotations

import re
from datetime import date
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field, SecretStr, StringConstraints, field_validator, model_validator

from dicomrelay.settings.fields import Section

# As basic authentication takes it (RFC 7617 Section 2: no colon), and as one word of a log line.
AccountName = Annotated[str, StringConstraints(pattern=r"^[\w.@+-]{1,64}$")]
_TOKEN_HASH: Final = re.compile(r"sha256\$[0-9a-f]{64}", re.ASCII)
_MOST_TOKENS: Final = 64


class Role(StrEnum):
    """What a user may do; `dicomrelay.access.may` has the table."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


class AccountTokenSettings(Section):
    """One token of a user."""

    name: AccountName = Field(description="What it is for; the audit names it.")
    hash: SecretStr = Field(description="What `dicomrelay users token add` keeps of a token: its SHA-256.")
    expires: date | None = Field(
        None, description="The last day on which it is taken, in UTC. None: for ever."
    )

    @field_validator("hash")
    @classmethod
    def _sound(cls, value: SecretStr) -> SecretStr:
        if not _TOKEN_HASH.fullmatch(value.get_secret_value()):
            raise ValueError(
                "is no hash of a token: sha256$ and 64 digits (`dicomrelay users token add` makes token and hash)"
            )
        return value


class AccountSettings(Section):
    """A user of the streamer's HTTP and of Flower."""

    name: AccountName = Field(description="Letters, digits, and . _ @ + -; upper case is not lower case.")
    role: Role = Field(description="What the user may do.")
    password_hash: SecretStr | None = Field(
        None,
        description="What `dicomrelay users hash` prints for a password: scrypt, salted. None: tokens only.",
    )
    tokens: list[AccountTokenSettings] = Field(
        [], max_length=_MOST_TOKENS, description="Tokens, for programs that come as this user."
    )

    @model_validator(mode="after")
    def _sound(self) -> AccountSettings:
        names = [token.name for token in self.tokens]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"tokens: the name {min(twice)!r} stands twice")
        return self


def check_names(accounts: list[AccountSettings]) -> None:
    """Refuse two users of one name.

    Raises
    ------
    ValueError
        The name stands twice.
    """
    names = [account.name for account in accounts]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"users: the name {min(twice)!r} stands twice")
