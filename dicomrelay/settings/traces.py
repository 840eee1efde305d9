"""The section of traces (docs/design/traces.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from dicomrelay.settings.fields import Section
from dicomrelay.settings.sections import is_loopback


class TraceSettings(Section):
    """Traces for OpenTelemetry: the way of an instance from its arrival to its delivery."""

    endpoint: str | None = Field(
        None,
        description="Where a collector takes OTLP over HTTP, such as http://127.0.0.1:4318/v1/traces. None: nothing is traced.",
    )
    ratio: float = Field(0.01, ge=0, le=1, description="Which part of the instances is traced.")
    token: SecretStr | None = Field(
        None, description="Shown to the collector as a bearer token, over https or on this machine."
    )
    token_file: Path | None = Field(
        None, description="File with that token in its first line, in place of `token`."
    )
    ca: Path | None = Field(None, description="PEM file with the collector's authority; none: the system's.")
    timeout_s: float = Field(5, gt=0, le=60, description="Time for one request to the collector.")

    @field_validator("endpoint")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        try:
            host, _ = parts.hostname, parts.port
        except ValueError:
            raise ValueError("the port in the URL is no number from 0 to 65535") from None
        if parts.scheme not in {"http", "https"} or not host or parts.username is not None:
            raise ValueError("is no address such as http://127.0.0.1:4318/v1/traces, without a user in it")
        if not value.isascii():
            raise ValueError("has letters that no URL has: write them as %XX, and the host as xn--…")
        return value

    @field_validator("token")
    @classmethod
    def _sound(cls, value: SecretStr | None) -> SecretStr | None:
        text = "-" if value is None else value.get_secret_value()
        if not (text and text.isascii() and text.isprintable()):
            raise ValueError("is no token: printable ASCII, in one line")
        return value

    @model_validator(mode="after")
    def _token_is_kept(self) -> Self:
        if self.token is not None and self.token_file is not None:
            raise ValueError("token and token_file: set one of them")
        parts = urlsplit(self.endpoint or "")
        has_token = self.token is not None or self.token_file is not None
        if has_token and parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            raise ValueError("token: it would go unencrypted to another machine: use https:// in endpoint")
        return self
