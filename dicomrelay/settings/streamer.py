"""The section of the streamer (docs/design/streamer-door.md)."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, SecretStr, StringConstraints, field_validator, model_validator

from dicomrelay.settings.fields import AeTitle, Port, Section
from dicomrelay.settings.tls import HttpTlsSettings

# RFC 6750 Section 2.1, without the characters that a WebSocket's subprotocol cannot have (RFC 9110 Section 5.6.2).
TOKEN: Final = re.compile(r"[A-Za-z0-9._~+-]{16,1024}", re.ASCII)
# RFC 6454 Section 7: scheme, host and port, nothing behind them.
_ORIGIN: Final = re.compile(r"https?://[a-z0-9.:\[\]_-]+", re.ASCII)
_User = Annotated[str, StringConstraints(pattern=r"^[^:\x00-\x1f\x7f]{1,256}$")]


class StreamerAccessSettings(Section):
    """Who may use the streamer; the table's presence turns the check on."""

    tokens_file: Path | None = Field(
        None,
        description="File with bearer tokens, one a line, each of 16 or more of the characters A-Z a-z 0-9 . _ ~ + -; lines that "
        "begin with # are passed over. Read again when it changes.",
    )
    token: SecretStr | None = Field(
        None, description="One bearer token, for those who keep their settings in a safe or the environment."
    )
    users_file: Path | None = Field(
        None,
        description="File with users for basic authentication, one a line: the name, a colon, and what "
        "`python -m dicomrelay.net.identity` prints for the password. Read again when it changes.",
    )
    user: _User | None = Field(None, description="One user for basic authentication.")
    password: SecretStr | None = Field(None, description="The password of `user`.")
    max_failures: int = Field(
        10,
        ge=1,
        le=1000,
        description="Failures from one address in a minute before passwords and wrong tokens from there are refused unchecked "
        "(429). A right token is let in.",
    )

    @field_validator("tokens_file", "users_file")
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
    def _somebody(self) -> StreamerAccessSettings:
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password go together: set both or none")
        if self.password is not None and not self.password.get_secret_value():
            raise ValueError("password is empty")
        if self.tokens_file is None and self.token is None and self.users_file is None and self.user is None:
            raise ValueError("set tokens_file, token, users_file or user: nobody could come in")
        return self


class StreamerStowSettings(Section):
    """Storing over the web (docs/design/stow.md)."""

    enabled: bool = Field(
        True,
        description="Take instances by STOW-RS: from this machine while the streamer listens on loopback, else from those "
        "who show who they are by [streamer.access]. They go into the spool.",
    )
    ae_title: AeTitle = Field(
        "STOW-RS",
        description="What stands for the calling AE title of such instances, in [[peers]] and in rules.",
    )
    max_request_bytes: int = Field(
        16 * 1024**3, ge=65_536, le=2**50, description="The body of one request, at most, in bytes."
    )
    max_requests: int = Field(
        8,
        ge=1,
        le=256,
        description="Requests that store at once, in each process; one more is answered 503. From four on, one user or address "
        "has at most three quarters of them.",
    )


class StreamerSettings(Section):
    """DICOMweb over HTTP."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: Port = Field(8080, description="TCP port to listen on.")
    processes: int = Field(
        1,
        ge=1,
        le=64,
        description="Processes that share the port: one uses one core. Limits on connections and rates are of each of them.",
    )
    tls: HttpTlsSettings | None = Field(None, description="TLS; the table's presence turns it on.")
    proxies: list[str] = Field(
        [],
        max_length=64,
        description="Addresses or networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed. Nobody else's "
        "are: whoever is believed says from which address failures are counted. None: what connects is who asks.",
    )
    access: StreamerAccessSettings | None = Field(
        None,
        description="Who may use it: bearer tokens, and users with passwords. None: whoever reaches the address.",
    )
    public_url: str | None = Field(
        None,
        pattern=r"^https?://[A-Za-z0-9._:\[\]/~-]+$",
        description="Where clients reach it, such as https://images.example/dicom: the beginning of the addresses in answers. "
        "None: what they have asked for. Set it behind a proxy with TLS or with a path.",
    )
    cors_origins: list[str] = Field(
        [],
        max_length=64,
        description='Origins whose pages may read answers, such as https://viewer.example; "*" for all. They store only with a '
        "token or password of [streamer.access]. None: no other page.",
    )
    requests_per_s: float | None = Field(
        None,
        gt=0,
        description="Requests a second from one address; more are answered 429. Behind a proxy all have the proxy's address. "
        "None: no limit.",
    )
    cache: Literal["no-store", "revalidate", "immutable"] = Field(
        "revalidate",
        description='What clients may keep of frames, instances, metadata and bulk data: "no-store" nothing; "revalidate" what '
        'they ask about each time (ETag, 304); "immutable" frames, instances and bulk data for a year without asking.',
    )
    request_log: Literal["all", "but_frames", "none"] = Field(
        "but_frames",
        description='Which requests have a line in the log: "all"; "but_frames" all but frames, instances and health that were '
        'answered well; "none".',
    )
    streams: int = Field(
        128,
        ge=0,
        le=10_000,
        description="Scheduled streams that are open at once, in each process; 0 for none.",
    )

    stow: StreamerStowSettings = Field(StreamerStowSettings(), description="Storing over the web, STOW-RS.")

    @field_validator("proxies")
    @classmethod
    def _networks(cls, value: list[str]) -> list[str]:
        for each in value:
            try:
                ipaddress.ip_network(each)
            except ValueError:
                raise ValueError(
                    f"{each!r} is no address and no network, such as 10.0.0.9 or 10.0.0.0/24"
                ) from None
        return value

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: list[str]) -> list[str]:
        for origin in value:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"{origin!r} is no origin: write scheme, host and port in lower case, without a slash behind them, or *"
                )
        return value
