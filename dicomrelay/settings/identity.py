"""The sections about user identity (docs/design/negotiation.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    field_validator,
    model_validator,
)

UserName = Annotated[str, StringConstraints(min_length=1, max_length=256)]
# Signatures only: no "none", and secrets of one party cannot be mixed with public keys of another (RFC 8725 Section 3.1).
SymmetricAlgorithm = Literal["HS256", "HS384", "HS512"]
TokenAlgorithm = Literal[
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
    SymmetricAlgorithm,
]


class _IdentitySection(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class UserSettings(_IdentitySection):
    """A user who may call. Without passcode the name alone is enough."""

    name: UserName = Field(description="User name; upper case is not lower case.")
    passcode_hash: SecretStr | None = Field(
        None, description="What `python -m dicomrelay.net.identity` prints for a passcode: scrypt, salted."
    )
    passcode: SecretStr | None = Field(
        None,
        description="The passcode itself, for those who keep their settings in a safe; or passcode_hash.",
    )

    @model_validator(mode="after")
    def _one(self) -> UserSettings:
        if self.passcode is not None and self.passcode_hash is not None:
            raise ValueError("passcode and passcode_hash: set one of them")
        if self.passcode is not None and not self.passcode.get_secret_value():
            raise ValueError("passcode is empty: leave it out for a user whose name is enough")
        return self


class TokenSettings(_IdentitySection):
    """JSON web tokens of one issuer."""

    key_file: Path = Field(
        description="PEM file with the issuer's public key or certificate; for HS algorithms the secret, 32 bytes or more."
    )
    algorithms: list[TokenAlgorithm] = Field(
        ["RS256"], min_length=1, description="Signature algorithms that are taken, no others."
    )
    issuer: str = Field(min_length=1, description="What `iss` of a token must be.")
    audience: str = Field(min_length=1, description="What `aud` of a token must hold: us.")
    leeway_s: float = Field(30, ge=0, le=600, description="How far the issuer's clock may be off.")

    @field_validator("key_file")
    @classmethod
    def _own_folder(cls, value: Path) -> Path:
        return value.expanduser()

    @field_validator("algorithms")
    @classmethod
    def _one_kind(cls, value: list[TokenAlgorithm]) -> list[TokenAlgorithm]:
        if len({name.startswith("HS") for name in value}) > 1:
            raise ValueError("HS algorithms take a secret and the others a public key: list one kind only")
        return value


class GatewayIdentitySettings(_IdentitySection):
    """User identity of those who call; the table's presence turns the check on."""

    required: bool = Field(False, description="Reject whoever shows no identity.")
    users: list[UserSettings] = Field([], description="Who may call by name, and with which passcode.")
    token: TokenSettings | None = Field(None, description="Which JSON web tokens are taken.")
    max_failures: int = Field(
        10,
        ge=1,
        le=1000,
        description="Failures from one address in a minute before identities from there are rejected unchecked.",
    )

    @model_validator(mode="after")
    def _somebody(self) -> GatewayIdentitySettings:
        if not self.users and self.token is None:
            raise ValueError("set users, token or both: nobody could show an identity")
        names = [user.name for user in self.users]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"users: the name {min(twice)!r} stands twice")
        return self


class DestinationIdentitySettings(_IdentitySection):
    """Who we say the user is, toward a destination."""

    user: UserName | None = Field(None, description="User name.")
    passcode: SecretStr | None = Field(
        None, description="Passcode of `user`. Without TLS it goes through the network as it is."
    )
    jwt_file: Path | None = Field(
        None, description="File with a JSON web token, read for each association, in place of `user`."
    )
    confirm: bool = Field(
        False, description="Ask for a positive response, and send nothing to a peer that does not give it."
    )

    @field_validator("jwt_file")
    @classmethod
    def _own_folder(cls, value: Path | None) -> Path | None:
        return value.expanduser() if value is not None else None

    @model_validator(mode="after")
    def _one(self) -> DestinationIdentitySettings:
        if (self.user is None) == (self.jwt_file is None):
            raise ValueError("set user, or jwt_file: one of them")
        if self.passcode is not None and self.user is None:
            raise ValueError("passcode goes with user")
        return self
