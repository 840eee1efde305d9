"""The section of what the relay tells by itself (docs/design/alerts.md)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from dicomrelay.settings.fields import Name, Section
from dicomrelay.settings.sections import is_loopback

_ADDRESS = r"^[^\s@<>,;:\"]{1,64}@[A-Za-z0-9.-]{1,253}$"


class WebhookSettings(Section):
    """An address that is told of alerts."""

    name: Name = Field(description="Our name for it: lower case letters, digits, - and _.")
    # Some have a key in it: it is in no message, and not in what is printed of the settings.
    url: str = Field(repr=False, description="Where it is sent by POST: https, or http to this machine.")
    secret: SecretStr | None = Field(
        None, min_length=16, description="Key of the signature, 16 characters or more; none: not signed."
    )
    secret_file: Path | None = Field(None, description="File with that key, in place of `secret`.")
    ca: Path | None = Field(None, description="PEM file with the server's authority; none: the system's.")
    timeout_s: float = Field(10, gt=0, le=120, description="Time for one attempt.")

    @field_validator("url")
    @classmethod
    def _safe(cls, value: str) -> str:
        parts = urlsplit(value)
        try:
            host, _ = parts.hostname or "", parts.port
        except ValueError:
            raise ValueError("the port in the URL is no number from 0 to 65535") from None
        if not host or parts.username is not None:
            raise ValueError("is no address such as https://alerts.example/hook, without a user in it")
        if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
            raise ValueError("must begin with https:// (http:// to loopback only)")
        return value

    @model_validator(mode="after")
    def _one_secret(self) -> Self:
        if self.secret is not None and self.secret_file is not None:
            raise ValueError("secret and secret_file: set one of them")
        return self


class MailSettings(Section):
    """A mail server, and who gets mail."""

    host: str = Field(min_length=1, max_length=253, description="The SMTP server.")
    port: int = Field(587, ge=1, le=65535, description="TCP port: 587 for STARTTLS, 465 for TLS.")
    tls: Literal["starttls", "tls", "none"] = Field(
        "starttls",
        description='"starttls", "tls" from the beginning, or "none" to a server on this machine.',
    )
    ca: Path | None = Field(None, description="PEM file with the server's authority; none: the system's.")
    user: str | None = Field(None, description="Who we are there; none: we do not log in.")
    password: SecretStr | None = Field(None, description="The password of `user`.")
    password_file: Path | None = Field(None, description="File with that password, in place of `password`.")
    sender: str = Field(pattern=_ADDRESS, description="The address that mail comes from.")
    recipients: list[str] = Field(min_length=1, max_length=100, description="Who gets it.")
    timeout_s: float = Field(20, gt=0, le=120, description="Time for each step with the server.")

    @model_validator(mode="after")
    def _safe(self) -> Self:
        if self.password is not None and self.password_file is not None:
            raise ValueError("password and password_file: set one of them")
        if (self.user is None) != (self.password is None and self.password_file is None):
            raise ValueError("user and a password go together: set both or none")
        if self.tls == "none" and not is_loopback(self.host):
            raise ValueError(f'tls = "none" is for a server on this machine, and {self.host} is not')
        return self

    @field_validator("recipients")
    @classmethod
    def _addresses(cls, value: list[str]) -> list[str]:
        for each in value:
            if not re.fullmatch(_ADDRESS, each):
                raise ValueError(f"{each!r} is no mail address")
        return value


class AlertSettings(Section):
    """What the relay tells by itself, and whom; nobody is told while there is neither a webhook nor mail."""

    every_seconds: float = Field(15, ge=1, le=3600, description="How often it is looked.")
    attention_after_seconds: float = Field(
        60, ge=0, le=86_400, description="Instances that need attention are told of after so long."
    )
    destination_after_seconds: float = Field(
        600, ge=0, le=604_800, description="A destination that does not answer is told of after so long."
    )
    disk_free_bytes: int | None = Field(
        None,
        ge=0,
        le=2**60,
        description="A disk with less free than this is told of; none: twice gateway.min_free_bytes.",
    )
    certificate_days: float = Field(
        14, ge=0, le=3650, description="A certificate that expires in fewer days is told of."
    )
    repeat_hours: float = Field(
        24, ge=0, le=8760, description="While it lasts it is told again after so long; 0: never."
    )
    keep_days: float = Field(90, ge=1, le=36_500, description="Alerts that are over are listed for so long.")
    webhooks: list[WebhookSettings] = Field([], max_length=20, description="Addresses that are told.")
    mail: MailSettings | None = Field(None, description="Mail; none: none.")

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [each.name for each in self.webhooks]
        if len(set(names)) < len(names) or "mail" in names:
            raise ValueError('webhooks: each needs a name of its own, and none "mail"')
        return self
