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
    token: SecretStr | None = Field(None, description="Shown to the collector as a bearer token.")
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
        return value

    @model_validator(mode="after")
    def _token_is_kept(self) -> Self:
        parts = urlsplit(self.endpoint or "")
        if self.token is not None and parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            raise ValueError("token: it would go unencrypted to another machine: use https:// in endpoint")
        return self
