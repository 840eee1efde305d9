"""What [[destinations]] have that are reached over the web (docs/design/stow-destinations.md)."""

from __future__ import annotations

import ipaddress
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, field_validator, model_validator

from dicomrelay.settings.fields import Section

_PORTS: Final = {"http": 80, "https": 443}
# What evidence and pages call it, where its settings give no AE title.
AE_TITLE: Final = "STOW-RS"


class DestinationProtocol(StrEnum):
    """How a destination is spoken to."""

    DIMSE = "dimse"  # C-STORE
    DICOMWEB = "dicomweb"  # STOW-RS


class Duplicates(StrEnum):
    """What a failure means whose reason is that the service has the SOP Instance UID already."""

    REFUSED = "refused"
    DELIVERED = "delivered"


def parse_url(text: str) -> SplitResult:
    """An address of a web service, without a slash at its end.

    Raises
    ------
    ValueError
        It is none; the message says why, and quotes no password.
    """
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("a URL has no spaces, and other letters only as %XX")
    url = urlsplit(text.rstrip("/"))
    if url.username is not None or url.password is not None:
        raise ValueError("the URL holds a user or a password: they belong into `auth`")
    if url.scheme not in _PORTS or not url.hostname:
        raise ValueError(f"{text!r} is no URL: write it as https://host/dicom-web")
    if url.query or url.fragment:
        raise ValueError(f"{text!r}: leave out what begins with ? or #")
    _ = url.port  # raises, when it is none
    return url


def port_of(url: SplitResult) -> int:
    """The port that it names or that its scheme has."""
    return url.port or _PORTS[url.scheme]


def is_secret_on_the_way(url: SplitResult) -> bool:
    """Whether nobody between here and there can read what is sent."""
    host = url.hostname or ""
    if url.scheme == "https" or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class DicomwebAuthSettings(Section):
    """Credentials toward a DICOMweb destination: a token, a user, or a client that gets tokens (OAuth 2)."""

    token_file: Path | None = Field(None, description="File with a bearer token, read for each transfer.")
    user: str | None = Field(
        None, min_length=1, max_length=256, pattern=r"^[^:\x00-\x1f]+$", description="User name (HTTP Basic)."
    )
    password_file: Path | None = Field(None, description="File with the password of `user`.")
    token_url: str | None = Field(
        None, description="Where access tokens are given to a client (OAuth 2, client credentials)."
    )
    client_id: str | None = Field(
        None, min_length=1, max_length=256, description="The client's id at `token_url`."
    )
    client_secret_file: Path | None = Field(None, description="File with the client's secret.")
    client_auth: Literal["basic", "post"] = Field(
        "basic",
        description='How the client shows itself at `token_url`: "basic" in a header, "post" in the body.',
    )
    scope: str | None = Field(
        None, max_length=1024, description="The scope that is asked for; none: what the client has."
    )
    token_ca: Path | None = Field(
        None, description="PEM file with the authorities for `token_url`; none: those of the system."
    )
    plain: bool = Field(
        False, description="Send credentials over http too: anybody on the way can read them."
    )

    @field_validator("token_file", "password_file", "client_secret_file", "token_ca")
    @classmethod
    def _own_folder(cls, value: Path | None) -> Path | None:
        return value.expanduser() if value is not None else None

    @field_validator("token_url")
    @classmethod
    def _url(cls, value: str | None) -> str | None:
        return None if value is None else parse_url(value).geturl()

    @model_validator(mode="after")
    def _one(self) -> DicomwebAuthSettings:
        if [self.token_file, self.user, self.token_url].count(None) != 2:
            raise ValueError("set token_file, or user and password_file, or token_url: one of the three")
        _together("user", "password_file", self)
        _together("token_url", "client_id", self)
        _together("token_url", "client_secret_file", self)
        if self.token_url is None and (self.scope is not None or self.token_ca is not None):
            raise ValueError("scope and token_ca go with token_url")
        if self.token_url is not None and not (self.plain or is_secret_on_the_way(urlsplit(self.token_url))):
            raise ValueError(f"token_url: the secret would go to {self.token_url} as it is: use https")
        return self


def _together(one: str, other: str, section: Section) -> None:
    if (getattr(section, one) is None) != (getattr(section, other) is None):
        raise ValueError(f"{one} and {other} go together: set both")


def with_an_address(values: Any) -> Any:
    """The keys of a web destination with AE title, host and port as a ledger wants them, from its URL.

    Raises
    ------
    ValueError
        There is no usable `url`, or host or port are given beside it; or there is one, and no `kind`.
    """
    # Else one would be told of an AE title and a host that are missing.
    if isinstance(values, dict) and values.get("url") is not None and "kind" not in values:
        raise ValueError('url is nothing that a destination of kind = "dimse" has: add kind = "dicomweb"')
    if not isinstance(values, dict) or values.get("kind") != DestinationProtocol.DICOMWEB:
        return values
    if not isinstance(values.get("url"), str):
        raise ValueError('kind = "dicomweb" needs url = "https://host/dicom-web"')
    url = parse_url(values["url"])
    if url.path.endswith("/studies"):
        raise ValueError("url: leave out /studies at its end, requests bring it along")
    stated = {key for key in ("host", "port") if values.get(key) not in (None, _address(url)[key])}
    if stated:
        raise ValueError(f"{min(stated)}: a DICOMweb destination has it in its url; leave it out")
    return {"ae_title": AE_TITLE, **values, **_address(url), "url": url.geturl()}


def _address(url: SplitResult) -> dict[str, Any]:
    return {"host": url.hostname, "port": port_of(url)}
