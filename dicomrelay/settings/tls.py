"""The sections about TLS (docs/design/tls.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class _TlsSection(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("certificate", "key", "ca", mode="after", check_fields=False)
    @classmethod
    def _own_folder(cls, value: Path | None) -> Path | None:
        return value.expanduser() if value is not None else None


class TlsSettings(_TlsSection):
    """TLS at the listener; the table's presence turns it on."""

    certificate: Path = Field(
        description="PEM file with our certificate and, below it, those between it and its authority."
    )
    key: Path | None = Field(
        None, description="PEM file with its private key, without a password; by default in `certificate`."
    )
    ca: Path | None = Field(
        None,
        description="PEM file with the authorities whose clients are trusted; none: clients show no certificate.",
    )
    require_client_certificate: bool = Field(
        True,
        description="With `ca`: refuse clients without a certificate; else only what they show is checked.",
    )
    minimum: Literal["1.2", "1.3"] = Field("1.2", description="The oldest version of TLS that is taken.")
    allow_plain: bool = Field(False, description="Take DICOM without TLS too, on the same port.")


class HttpTlsSettings(_TlsSection):
    """TLS of a service that speaks HTTP; the table's presence turns it on."""

    certificate: Path = Field(
        description="PEM file with our certificate and, below it, those between it and its authority."
    )
    key: Path | None = Field(
        None, description="PEM file with its private key, without a password; by default in `certificate`."
    )
    minimum: Literal["1.2", "1.3"] = Field("1.2", description="The oldest version of TLS that is taken.")


class DestinationTlsSettings(_TlsSection):
    """TLS toward a destination."""

    ca: Path | None = Field(
        None, description="PEM file with the authorities that are trusted; none: those of the system."
    )
    certificate: Path | None = Field(
        None, description="PEM file with our certificate, for a destination that asks for one."
    )
    key: Path | None = Field(
        None, description="PEM file with its private key, without a password; by default in `certificate`."
    )
    check_host: bool = Field(
        True,
        description="The certificate must name the destination's host; its chain is checked in any case.",
    )
    minimum: Literal["1.2", "1.3"] = Field("1.2", description="The oldest version of TLS that is spoken.")

    @model_validator(mode="after")
    def _together(self) -> DestinationTlsSettings:
        if self.key is not None and self.certificate is None:
            raise ValueError("key says nothing without certificate: set both")
        return self
