"""The section of the figures for Prometheus, and of the health endpoints (docs/design/metrics.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, field_validator, model_validator

from dicomrelay.settings.fields import Section
from dicomrelay.settings.sections import is_loopback
from dicomrelay.settings.streamer import TOKEN
from dicomrelay.settings.tls import HttpTlsSettings


class MetricsSettings(Section):
    """Figures for Prometheus, and who may ask for them. Flower's port shows them too."""

    enabled: bool = Field(True, description="Let every process count what it does, in `run/metrics/`.")
    host: str = Field(
        "127.0.0.1",
        description="Address of `/metrics`, `/healthz` and `/readyz`. Another than loopback wants a token.",
    )
    port: int = Field(
        0,
        ge=0,
        le=65535,
        description="TCP port of them: of `dicomrelay up` for all it starts, else of each service by itself. 0: none, and "
        "Flower's port answers alone.",
    )
    token: SecretStr | None = Field(
        None,
        description="What `/metrics` asks for, as a bearer token (`authorization` in Prometheus' scrape settings).",
    )
    token_file: Path | None = Field(
        None, description="File with that token in its first line, in place of `token`."
    )
    tls: HttpTlsSettings | None = Field(
        None, description="TLS at `host` and `port`; the table's presence turns it on."
    )
    refresh_seconds: float = Field(
        15,
        ge=1,
        le=3600,
        description="How often the scheduler asks ledger, broker and disks for depths, ages and speeds.",
    )

    @field_validator("token_file")
    @classmethod
    def _own_folder(cls, value: Path | None) -> Path | None:
        return value.expanduser() if value is not None else None

    @field_validator("token")
    @classmethod
    def _sound(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not TOKEN.fullmatch(value.get_secret_value()):
            raise ValueError(
                "is no token: 16 to 1024 of the characters A-Z a-z 0-9 . _ ~ + - (`openssl rand -hex 32` makes one)"
            )
        return value

    @model_validator(mode="after")
    def _safe(self) -> Self:
        if self.token is not None and self.token_file is not None:
            raise ValueError("token and token_file: set one of them")
        if not is_loopback(self.host) and self.token is None and self.token_file is None:
            raise ValueError(
                f"host {self.host} is not loopback: set token or token_file first, figures name peers and destinations"
            )
        return self
