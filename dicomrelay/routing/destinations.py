"""Destinations as values: from the settings by name, or from an address on the command line."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field

from dicomrelay.errors import ConfigurationError
from dicomrelay.ledger.breaker import BreakerPolicy
from dicomrelay.ledger.values import DestinationInfo, DestinationKind
from dicomrelay.net.identity import shown_identity
from dicomrelay.net.limits import Timeouts
from dicomrelay.net.peer import RemotePeer
from dicomrelay.net.proposal import RemoteAe
from dicomrelay.net.tls import requestor_context
from dicomrelay.routing.address import parse_address
from dicomrelay.routing.retry import RetryPolicy
from dicomrelay.routing.verification import VerificationPolicy
from dicomrelay.settings import (
    DestinationIdentitySettings,
    DestinationProtocol,
    DestinationSettings,
    DestinationTlsSettings,
    GatewaySettings,
    TransferSyntaxPolicy,
)
from dicomrelay.settings.windows import Window, parse_window
from dicomrelay.ul.pdu import UserIdentity
from dicomrelay.web.values import WebPeer, WebPolicy

# What a name in the settings may be, so that an ad hoc destination has the same defaults as a configured one.
_AD_HOC_NAME = "ad-hoc"


@dataclass(frozen=True, slots=True)
class Destination:
    """A peer that we forward to, with its policies; times in seconds."""

    name: str  # of the settings, or AET@host:port
    ae_title: str
    host: str
    port: int
    calling_ae_title: str | None
    associations: int
    max_bytes_per_s: int | None
    connect_timeout_s: float
    response_timeout_s: float
    retry: RetryPolicy
    policy: TransferSyntaxPolicy = TransferSyntaxPolicy.AS_IS
    window: int = 1  # operations that may be outstanding at once on an association
    tls: DestinationTlsSettings | None = None  # None: plain DICOM
    identity: DestinationIdentitySettings | None = None  # None: no user identity is shown
    kind: DestinationKind = DestinationKind.CONFIGURED
    verification: VerificationPolicy = field(default_factory=VerificationPolicy)
    breaker: BreakerPolicy = field(default_factory=BreakerPolicy)
    adaptive: bool = True
    windows: tuple[Window, ...] = ()  # none: always
    web: WebPolicy | None = None  # STOW-RS in place of C-STORE

    def is_open(self, minute: int) -> bool:
        """Whether something may be sent at minute 0 to 1439 of the local day."""
        return not self.windows or any(window.holds(minute) for window in self.windows)

    def peer(
        self, gateway: GatewaySettings, *, calling_ae_title: str | None = None, timeout_s: float | None = None
    ) -> RemotePeer:
        """How it is called, with its certificates and token as their files are now.

        Parameters
        ----------
        gateway : GatewaySettings
            Whose AE title is ours where neither the caller nor the destination says another.
        timeout_s : float, optional
            In place of `response_timeout_s`; to connect takes no longer either.

        Raises
        ------
        ConfigurationError
            A file of its TLS or identity cannot be used; it names the file and the setting. Or it is none that associations
            can be made to.
        """
        if self.web is not None:
            raise ConfigurationError(
                f"{self.name} is a DICOMweb destination: instances can be sent to it, no more"
            )
        connect_s, response_s = self.connect_timeout_s, self.response_timeout_s
        if timeout_s is not None:
            connect_s, response_s = min(connect_s, timeout_s), timeout_s
        return RemotePeer(
            RemoteAe(self.ae_title, self.host, self.port),
            calling_ae_title or self.calling_ae_title or gateway.ae_title,
            Timeouts(connect_s=connect_s, response_s=response_s),
            tls=self.tls_context(),
            identity=self.user_identity(),
        )

    def web_peer(
        self, gateway: GatewaySettings, *, calling_ae_title: str | None = None, timeout_s: float | None = None
    ) -> WebPeer | None:
        """How it is reached over the web, with its certificates as their files are now; None for all other destinations.

        Parameters
        ----------
        gateway, calling_ae_title, timeout_s
            As of `peer`.

        Raises
        ------
        ConfigurationError
            A file of its TLS cannot be used; it names the file and the setting.
        """
        if self.web is None:
            return None
        connect_s, response_s = self.connect_timeout_s, self.response_timeout_s
        if timeout_s is not None:
            connect_s, response_s = min(connect_s, timeout_s), timeout_s
        return WebPeer(
            self.web,
            f"destinations.{self.name}",
            calling_ae_title or self.calling_ae_title or gateway.ae_title,
            tls=self.tls_context(),
            connect_s=connect_s,
            response_s=response_s,
        )

    def tls_context(self) -> ssl.SSLContext | None:
        """For `Association.request`, from its files as they are now; None for plain DICOM, and for http.

        Raises
        ------
        ConfigurationError
            A file cannot be used; it names the file.
        """
        tls = self.tls
        if tls is None and self.web is not None and self.web.url.startswith("https:"):
            tls = DestinationTlsSettings()
        return requestor_context(tls, where=f"destinations.{self.name}.tls") if tls else None

    def user_identity(self) -> UserIdentity | None:
        """For `Association.request`; a token is read from its file now. None when none is shown.

        Raises
        ------
        ConfigurationError
            The token's file cannot be read, or holds none; it names the file.
        """
        if self.identity is None:
            return None
        return shown_identity(self.identity, where=f"destinations.{self.name}.identity")

    def in_force(self) -> dict[str, str | int | float | bool | None]:
        """Its policies, for the summary of a session; no secret is among them."""
        return {
            "associations": self.associations,
            "window": self.window,
            "transfer_syntax_policy": self.policy.value,
            "max_bytes_per_s": self.max_bytes_per_s,
            "connect_timeout_s": self.connect_timeout_s,
            "response_timeout_s": self.response_timeout_s,
            "tls": self.tls is not None or (self.web is not None and self.web.url.startswith("https:")),
            "identity": self.identity is not None,
            **(self.web.in_force() if self.web is not None else {}),
        }

    def info(self) -> DestinationInfo:
        """What the ledger keeps of it."""
        return DestinationInfo(
            name=self.name,
            ae_title=self.ae_title,
            host=self.host,
            port=self.port,
            kind=self.kind,
            associations=self.associations,
            calling_ae_title=self.calling_ae_title or "",
            verification=self.verification.method.value,
        )


def configured(destinations: Sequence[DestinationSettings]) -> list[DestinationInfo]:
    """The destinations of the settings, as the ledger keeps them."""
    return [_from_settings(settings).info() for settings in destinations]


def closed(destinations: Sequence[DestinationSettings], minute: int) -> frozenset[str]:
    """The names of those that are outside of their time windows at minute 0 to 1439 of the local day."""
    return frozenset(
        settings.name
        for settings in destinations
        if settings.windows and not _from_settings(settings).is_open(minute)
    )


def resolve(text: str, destinations: Sequence[DestinationSettings]) -> Destination:
    """A destination by the name it has in the settings, or by its address AET@host:port.

    Raises
    ------
    ConfigurationError
        There is no such name, or it is no address.
    """
    for settings in destinations:
        if settings.name == text:
            return _from_settings(settings)
    if "@" in text:
        return ad_hoc(text)
    known = ", ".join(settings.name for settings in destinations) or "none"
    raise ConfigurationError(
        f"There is no destination {text!r}; known: {known}. Or give an address, AET@host:port"
    )


def ad_hoc(text: str) -> Destination:
    """A destination that is only an address, with the policies that the settings have by default.

    Raises
    ------
    ConfigurationError
        The text is no address.
    """
    address = parse_address(text)
    settings = DestinationSettings(
        name=_AD_HOC_NAME, ae_title=address.ae_title, host=address.host, port=address.port
    )
    return _from_settings(settings, name=text, kind=DestinationKind.AD_HOC)


def _from_settings(
    settings: DestinationSettings, *, name: str = "", kind: DestinationKind = DestinationKind.CONFIGURED
) -> Destination:
    web = _web(settings)
    return Destination(
        name=name or settings.name,
        ae_title=settings.ae_title,
        host=settings.host,
        port=settings.port,
        calling_ae_title=settings.calling_ae_title,
        associations=settings.associations,
        max_bytes_per_s=settings.max_bytes_per_s,
        connect_timeout_s=settings.connect_timeout_s,
        response_timeout_s=settings.response_timeout_s,
        retry=RetryPolicy(settings.retry_initial_s, settings.retry_max_s, settings.retry_attempts),
        policy=settings.transfer_syntax_policy,
        window=settings.asynchronous_operations,
        tls=settings.tls,
        identity=settings.identity,
        kind=kind if web is None else DestinationKind.WEB,
        verification=VerificationPolicy.of(settings),
        breaker=BreakerPolicy(settings.breaker_failures, settings.probe_initial_s, settings.probe_max_s),
        adaptive=settings.adaptive,
        windows=tuple(parse_window(text) for text in settings.windows),
        web=web,
    )


def _web(settings: DestinationSettings) -> WebPolicy | None:
    if settings.kind is not DestinationProtocol.DICOMWEB or settings.url is None:
        return None
    return WebPolicy(
        settings.url,
        settings.auth,
        settings.batch_instances,
        settings.batch_bytes,
        settings.parallel_requests,
        settings.duplicates,
    )
