"""The sections about servers that are not ours: the broker and the database, and how we speak to them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from dicomrelay.settings.fields import Section

EMBEDDED: Final = "embedded"
_BROKERS: Final = ("redis://", "rediss://", "redis+socket://", "amqp://", "amqps://")
_ENCRYPTED: Final = ("rediss", "amqps")
# Words of kombu, redis-py and py-amqp in a URL that say how a certificate is checked, or that there is no TLS after all.
_ABOUT_TLS: Final = re.compile(r"ssl|tls|cert|verify|hostname", re.IGNORECASE)


class ServiceTlsSettings(Section):
    """TLS toward a server; its certificate must name the host that the URL does."""

    ca: Path | None = Field(
        None, description="PEM file with the authorities that are trusted; none: those of the system."
    )
    certificate: Path | None = Field(
        None, description="PEM file with our certificate, for a server that asks for one."
    )
    key: Path | None = Field(
        None, description="PEM file with its private key, without a password; by default in `certificate`."
    )

    @field_validator("ca", "certificate", "key")
    @classmethod
    def _own_folder(cls, value: Path | None) -> Path | None:
        return value.expanduser() if value is not None else None

    @model_validator(mode="after")
    def _together(self) -> ServiceTlsSettings:
        if self.key is not None and self.certificate is None:
            raise ValueError("key says nothing without certificate: set both")
        return self


class _ServiceSettings(Section):
    """What both have."""

    def _check(self, text: str, password_file: Path | None) -> None:
        if password_file is None:
            return
        if text == EMBEDDED:
            raise ValueError("password_file is for a url, and there is none")
        if urlsplit(text).password is not None:
            raise ValueError("password_file: the url has a password too: leave one of them out")


class BrokerSettings(_ServiceSettings):
    """Redis, Valkey or RabbitMQ: wake-ups only."""

    url: SecretStr = Field(
        SecretStr(EMBEDDED),
        description='"embedded" starts a server of our own; else a redis://, rediss://, amqp:// or amqps:// URL.',
    )
    password_file: Path | None = Field(
        None, description="File whose first line is the password, in place of one in the URL."
    )
    tls: ServiceTlsSettings | None = Field(
        None,
        description="How the server of a rediss:// or amqps:// URL is checked; none: by the system's authorities.",
    )
    timeout_s: float = Field(5, gt=0, le=60, description="Time for the broker to connect or to answer.")

    @field_validator("url")
    @classmethod
    def _known_scheme(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value()
        if text != EMBEDDED and not text.startswith(_BROKERS):
            raise ValueError(f'say "{EMBEDDED}", or a URL that begins with {", ".join(_BROKERS)}')
        if ";" in text:
            # Kombu takes a list: only the first would be checked, and a worker tells Flower all of them as they are.
            raise ValueError(
                "one server, not a list: give several one name (DNS or a proxy), and write a ; of a password as %3B"
            )
        _require_port(text)
        for name, _ in parse_qsl(urlsplit(text).query, keep_blank_values=True):
            if _ABOUT_TLS.search(name):
                raise ValueError(
                    "the URL has words about TLS behind its ?: leave them out, certificates are checked as [broker.tls] says"
                )
        return value

    @model_validator(mode="after")
    def _go_together(self) -> BrokerSettings:
        text = self.url.get_secret_value()
        self._check(text, self.password_file)
        if self.tls is not None and urlsplit(text).scheme not in _ENCRYPTED:
            raise ValueError("tls is for a URL that begins with rediss:// or amqps://, and this one does not")
        return self


class DatabaseSettings(_ServiceSettings):
    """The ledger and the archive's index."""

    url: SecretStr = Field(
        SecretStr(EMBEDDED),
        description=f'"{EMBEDDED}" is SQLite in db/ of the home; else postgresql://user:password@host/name.',
    )
    password_file: Path | None = Field(
        None, description="File whose first line is the password, in place of one in the URL."
    )
    tls: ServiceTlsSettings | None = Field(
        None,
        description="TLS to PostgreSQL, its certificate checked; the table's presence turns it on. None: as sslmode in the URL "
        "says.",
    )

    @field_validator("url")
    @classmethod
    def _known_scheme(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value()
        if text != EMBEDDED and not text.startswith("postgresql://"):
            raise ValueError(f'say "{EMBEDDED}", or a URL that begins with postgresql://')
        _require_port(text)
        return value

    @model_validator(mode="after")
    def _go_together(self) -> DatabaseSettings:
        text = self.url.get_secret_value()
        self._check(text, self.password_file)
        if self.tls is not None and text == EMBEDDED:
            raise ValueError("tls is for a url, and there is none")
        if self.tls is not None and "ssl" in urlsplit(text).query:
            raise ValueError("tls: the url has words about TLS too (ssl…): leave one of them out")
        return self


def _require_port(url: str) -> None:
    """Refuse a port that is none, without quoting the URL: it may hold a password."""
    try:
        _ = urlsplit(url).port
    except ValueError:
        raise ValueError("the port in the URL is no number from 0 to 65535") from None
