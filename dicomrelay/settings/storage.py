"""Where the archive keeps its files, how it looks at them again, and when they may go."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from dicomrelay.settings.fields import Pattern, Section

_BUCKET: Final = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._=-]+)*/?")


class StorageSettings(Section):
    """Part of the section `archive`."""

    url: str | None = Field(
        None,
        description="Where stored files are kept, s3://bucket/prefix. None: in the archive's folder. Index, frame indexes and a "
        "cache are in the folder in any case.",
    )
    endpoint: str | None = Field(
        None, description="The service that speaks S3, https://host:port; none: Amazon's of the region."
    )
    region: str = Field("us-east-1", min_length=1, max_length=64, description="Its region.")
    virtual_hosted: bool = Field(
        False, description="The bucket's name is part of the host's (the endpoint has it), not of the path."
    )
    access_key_id: SecretStr | None = Field(
        None,
        description="Who we are to the service; none: as AWS_ACCESS_KEY_ID and its kin in the environment, or the machine's own "
        "role, say.",
    )
    secret_access_key: SecretStr | None = Field(None, description="The key that goes with it.")
    session_token: SecretStr | None = Field(None, description="The token of temporary credentials.")
    ca: Path | None = Field(
        None,
        description="A PEM file with the authority of the service's certificate, beside those of the system.",
    )
    timeout_s: float = Field(
        60, ge=1, le=3600, description="Time for one request to the service, of 8 MiB at most."
    )
    cache_bytes: int = Field(
        10_000_000_000,
        ge=1_000_000,
        description="How much of what was fetched is kept in cache/ of the archive's folder, for all processes together.",
    )

    @field_validator("url")
    @classmethod
    def _is_bucket(cls, value: str | None) -> str | None:
        if value is not None and not _BUCKET.fullmatch(value):
            raise ValueError("say s3://bucket or s3://bucket/prefix")
        return None if value is None else value.rstrip("/")

    @field_validator("endpoint")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        url = urlsplit(value)
        if url.username or url.password or url.query or url.fragment:
            raise ValueError(
                "only https://host:port; credentials are archive.access_key_id and archive.secret_access_key"
            )
        if url.scheme not in {"http", "https"} or not url.hostname:
            raise ValueError("say https://host:port")
        if url.scheme == "http" and not _stays_near(url.hostname):
            raise ValueError(
                f"http://{url.hostname}: images of patients would travel unencrypted; only a private address may be without TLS"
            )
        return value.rstrip("/")

    @model_validator(mode="after")
    def _go_together(self) -> StorageSettings:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("access_key_id and secret_access_key go together: set both or none")
        if self.url is None and (self.endpoint is not None or self.access_key_id is not None):
            raise ValueError(
                'endpoint and credentials are for a url, and there is none: set url = "s3://bucket/prefix"'
            )
        return self


class ScrubSettings(Section):
    """Reading the whole archive again and again, so that damage is found while there is another copy to mend it from."""

    enabled: bool = Field(True, description="Do it, in the scheduler's process.")
    round_days: float = Field(
        30,
        gt=0,
        le=3650,
        description="Once through the archive takes so long: its bytes are spread over the time.",
    )
    bytes_per_s: int | None = Field(
        None,
        ge=1,
        description="How much is read a second at most, whatever round_days says. None: what the round asks for.",
    )


class ArchiveRetentionRule(Section):
    """How long studies of some modalities are kept."""

    modality: list[Pattern] = Field(
        [],
        description="Every modality of the study must match one of these; * and ? are wildcards. None given: any study.",
    )
    days: float = Field(
        gt=0, le=365_000, description="So long after the last instance of it was stored it may go."
    )


class ArchiveRetentionSettings(Section):
    """What the archive lets go of. Nothing, unless `rules` or `max_bytes` say so; never what somebody still has to get."""

    rules: list[ArchiveRetentionRule] = Field(
        [], max_length=1000, description="The first that fits a study decides."
    )
    max_bytes: int | None = Field(
        None,
        ge=1,
        description="While the stored files are more than that, the studies stored longest ago go.",
    )
    min_days: float = Field(
        1,
        ge=0,
        le=365_000,
        description="A study into which something came so lately stays, whatever else is said.",
    )
    undocumented: bool = Field(
        False,
        description="Let go of what the ledger does not know, too: imported files, and those whose deliveries were pruned.",
    )
    dry_run: bool = Field(False, description="Only say in the log what would go.")

    @property
    def is_on(self) -> bool:
        """Whether anything can go at all."""
        return bool(self.rules) or self.max_bytes is not None


def _stays_near(host: str) -> bool:
    """This machine, or a private network: what is reached there without TLS is its operator's choice."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or "." not in host
    return address.is_loopback or address.is_private
