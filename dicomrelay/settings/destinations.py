"""The section [[destinations]]."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from dicomrelay.settings.dicomweb import (
    DestinationProtocol,
    DicomwebAuthSettings,
    Duplicates,
    is_secret_on_the_way,
    with_an_address,
)
from dicomrelay.settings.fields import AeTitle, Name, Port, Section
from dicomrelay.settings.identity import DestinationIdentitySettings
from dicomrelay.settings.tls import DestinationTlsSettings
from dicomrelay.settings.windows import parse_window


class TransferSyntaxPolicy(StrEnum):
    """What may be done to an instance that a peer does not accept in its own transfer syntax."""

    AS_IS = "as_is"  # nothing: it is refused
    LOSSLESS = "lossless"  # a copy is sent, changed without loss
    NEVER = "never"  # nothing, whatever an option or a rule says


class VerificationMethod(StrEnum):
    """How a destination is asked, after sending, whether it has what it answered for."""

    NONE = "none"
    COMMITMENT = "commitment"  # Storage Commitment Push Model (PS3.4 Annex J)
    FIND = "find"  # C-FIND at level IMAGE (PS3.4 Annex C)


# What only one of the two kinds has.
_OF_THE_WEB: Final = ("url", "auth", "batch_instances", "batch_bytes", "parallel_requests", "duplicates")
_OF_DIMSE: Final = ("identity", "asynchronous_operations", "verification")


class DestinationSettings(Section):
    """A peer that we forward to."""

    name: Name = Field(description="Our name for it: lower case letters, digits, - and _.")
    kind: DestinationProtocol = Field(
        DestinationProtocol.DIMSE,
        description='"dimse": C-STORE; "dicomweb": STOW-RS, with `url` in place of host and port.',
    )
    ae_title: AeTitle = Field(
        description="The AE title that we call; of a DICOMweb destination what a C-MOVE names, STOW-RS if left out."
    )
    host: str = Field(min_length=1, description="Host name or address.")
    port: Port = Field(104, description="TCP port.")
    url: str | None = Field(
        None, description="DICOMweb: the address before `/studies`, such as https://pacs.example/dicom-web."
    )
    auth: DicomwebAuthSettings | None = Field(
        None, description="DICOMweb: credentials; none: none are shown."
    )
    batch_instances: int = Field(
        20, ge=1, le=1000, description="DICOMweb: instances in one request, at most."
    )
    batch_bytes: int = Field(
        50_000_000,
        ge=1_000_000,
        description="DICOMweb: bytes in one request; an instance that is longer goes alone.",
    )
    parallel_requests: int = Field(
        2, ge=1, le=16, description="DICOMweb: requests at once, for each of `associations`."
    )
    duplicates: Duplicates = Field(
        Duplicates.REFUSED,
        description='DICOMweb: what it means when it fails an instance because it has its UID already: "refused" has somebody '
        'look, "delivered" takes its word that it is the same one.',
    )
    calling_ae_title: AeTitle | None = Field(
        None, description="What we call ourselves; by default gateway.ae_title."
    )
    moves_only: bool = Field(
        False,
        description="Only C-MOVE sends to it: without [[rules]] nothing is forwarded there."
        " For workstations that ask for what they want.",
    )
    associations: int = Field(
        2, ge=1, le=64, description="Associations to it at once, of all workers together."
    )
    adaptive: bool = Field(
        True,
        description="Use fewer associations for a while when it turns some away or becomes much slower; one more after each "
        "transfer that goes well.",
    )
    max_bytes_per_s: int | None = Field(
        None,
        ge=10_000,
        description="Bytes per second to it, of all associations and workers together; none for no limit.",
    )
    windows: list[str] = Field(
        [],
        max_length=24,
        description='When something is sent to it, in local time: ["22:00-06:00"], more than one allowed; none: always.',
    )
    transfer_syntax_policy: TransferSyntaxPolicy = Field(
        TransferSyntaxPolicy.AS_IS,
        description='What to do with an instance that it does not accept in its own transfer syntax: "as_is" refuses it, '
        '"lossless" sends a copy that is changed without loss, "never" refuses it whatever else is said.',
    )
    edits: Name | None = Field(
        None,
        description="The profile of [[edits]] for all that goes there, by whatever way; none: what arrived goes there.",
    )
    asynchronous_operations: int = Field(
        1,
        ge=1,
        le=64,  # net.outgoing_window.MAX_OUTSTANDING
        description="Instances that may be on their way at once on one association, where the peer grants it; "
        "1 to wait for each answer.",
    )
    connect_timeout_s: float = Field(10, gt=0, description="Time to connect.")
    response_timeout_s: float = Field(60, gt=0, description="Time for it to answer a request.")
    retry_initial_s: float = Field(
        5, gt=0, description="Wait before the second attempt; doubles with each one after."
    )
    retry_max_s: float = Field(600, gt=0, description="The longest wait between attempts.")
    retry_attempts: int = Field(
        1000,
        ge=1,
        description="Attempts before what is left needs attention. While the breaker is open none is made, and none is counted.",
    )
    breaker_failures: int = Field(
        3,
        ge=1,
        le=1000,
        description="Associations in a row that failed before any answer, after which it is left alone but for probes (C-ECHO).",
    )
    probe_initial_s: float = Field(
        5, gt=0, description="Wait before the first probe; doubles with each one that fails."
    )
    probe_max_s: float = Field(60, gt=0, description="The longest wait between probes.")
    verification: VerificationMethod = Field(
        VerificationMethod.NONE,
        description='Whether it is asked, after sending, if it has what it answered for: "commitment" by Storage Commitment, '
        '"find" by C-FIND at level IMAGE. Instances stay in the spool until it says so.',
    )
    verification_wait_s: float = Field(
        5,
        ge=0,
        le=300,
        description="Storage Commitment: how long the association stays open for a report on it; later ones come to the gateway.",
    )
    verification_report_s: float = Field(
        3600,
        ge=1,
        le=604_800,
        description="Storage Commitment: time for the report, before it is asked again.",
    )
    verification_attempts: int = Field(
        5,
        ge=1,
        le=1000,
        description="Answers in a row that settle nothing, a report that does not come among them, before what is left needs "
        "attention; with C-FIND, looks before what is not found counts as missing.",
    )
    verification_resends: int = Field(
        2,
        ge=0,
        le=100,
        description="How often what is missing there is sent again before it needs attention.",
    )
    identity: DestinationIdentitySettings | None = Field(
        None, description="User identity to show there; none: no identity."
    )
    tls: DestinationTlsSettings | None = Field(
        None, description="TLS: `true` with the authorities of the system, or a table."
    )

    @model_validator(mode="before")
    @classmethod
    def _web_address(cls, values: Any) -> Any:
        return with_an_address(values)

    @model_validator(mode="after")
    def _of_its_kind(self) -> DestinationSettings:
        is_web = self.kind is DestinationProtocol.DICOMWEB
        fields = type(self).model_fields
        for key in _OF_DIMSE if is_web else _OF_THE_WEB:
            if getattr(self, key) != fields[key].default:
                raise ValueError(f'{key} is nothing that a destination of kind = "{self.kind.value}" has')
        if is_web:
            self._web_fits_together()
        return self

    def _web_fits_together(self) -> None:
        if self.transfer_syntax_policy is TransferSyntaxPolicy.LOSSLESS:
            raise ValueError(
                'transfer_syntax_policy: STOW-RS negotiates nothing, so "lossless" cannot be had'
            )
        url = urlsplit(self.url or "")
        if self.tls is not None and url.scheme != "https":
            raise ValueError("tls: the url begins with http: write https")
        if self.auth is not None and not self.auth.plain and not is_secret_on_the_way(url):
            raise ValueError("auth: credentials go over https only: correct the url, or set auth.plain")

    @field_validator("tls", mode="before")
    @classmethod
    def _switch(cls, value: object) -> object:
        return ({} if value else None) if isinstance(value, bool) else value

    @field_validator("windows")
    @classmethod
    def _windows(cls, value: list[str]) -> list[str]:
        return [str(parse_window(text)) for text in value]

    @field_validator("host")
    @classmethod
    def _host_name(cls, value: str) -> str:
        labels = value.removesuffix(".").split(".")
        if ":" not in value and (len(value) > 253 or not all(0 < len(label) < 64 for label in labels)):
            raise ValueError(f"{value!r} is no host name and no address")
        return value
