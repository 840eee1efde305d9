"""Who may call: [[peers]], by calling AE title, address, and what TLS shows of the peer."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from dicomrelay.net.service import Admission, TlsFacts
from dicomrelay.settings import PeerSettings
from scp_gateway.preferences import transfer_syntax_uids, wildcards

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
_LOOPBACK = ("127.0.0.0/8", "::1")
_FINGERPRINT = re.compile("[0-9a-f]{64}")  # SHA-256


@dataclass(frozen=True, slots=True)
class Peer:
    """An entry of [[peers]]."""

    ae_title: re.Pattern[str]
    network: IpNetwork | None  # None: any
    needs_tls: bool
    certificate: re.Pattern[str] | None  # of a name, a subject or a fingerprint; None: any, or none
    max_associations: int | None  # None: no limit of its own
    transfer_syntaxes: tuple[str, ...] | None  # UIDs, the best first; None: all
    identity_required: bool | None  # None: as the gateway

    @classmethod
    def of(cls, settings: PeerSettings, where: str) -> Peer:
        """From the settings; ConfigurationError names what in `where` is no transfer syntax."""
        names = settings.transfer_syntaxes
        return cls(
            wildcards(settings.ae_title),
            None if settings.host == "*" else ipaddress.ip_network(settings.host, strict=False),
            settings.tls or settings.certificate is not None,
            _certificate(settings.certificate) if settings.certificate is not None else None,
            settings.max_associations,
            transfer_syntax_uids(names, f"{where}.transfer_syntaxes") if names is not None else None,
            settings.identity_required,
        )

    def covers(self, address: IpAddress) -> bool:
        return self.network is None or address in self.network

    def trusts(self, tls: TlsFacts | None) -> bool:
        if tls is None:
            return not self.needs_tls
        if self.certificate is None:
            return True
        is_shown = bool(tls.certificate_sha256)  # or * would take those who show none
        return is_shown and any(map(self.certificate.fullmatch, _names(tls)))


class Peers:
    """Decides by the peers of the settings; with none, any AE title may call from loopback and nobody from elsewhere.

    Raises
    ------
    ConfigurationError
        A transfer syntax of an entry is none.
    """

    def __init__(self, peers: Sequence[PeerSettings]) -> None:
        listed = peers or [PeerSettings(host=network) for network in _LOOPBACK]
        self._peers = tuple(Peer.of(peer, f"peers.{number}") for number, peer in enumerate(listed))
        self._names_addresses = any(peer.network is not None for peer in self._peers)

    def of_address(self, peer_address: str) -> Admission:
        """What an address alone says.

        It is known when an entry names it, alone or in its network. Where no entry names any address, nobody is
        better known than another, and all are.
        """
        address = _parse(peer_address)
        if address is None:
            return Admission.REFUSED
        covering = [peer for peer in self._peers if peer.covers(address)]
        if not covering:
            return Admission.REFUSED
        if not self._names_addresses or any(peer.network is not None for peer in covering):
            return Admission.KNOWN
        return Admission.STRANGER

    def entry(self, calling_ae_title: str, peer_address: str, tls: TlsFacts | None = None) -> Peer | None:
        """The first entry by which that AE title may call from there, as the peer that TLS shows it to be; None: it may not."""
        address = _parse(peer_address)
        title = calling_ae_title.strip()
        if address is None:
            return None
        return next(
            (
                peer
                for peer in self._peers
                if peer.covers(address) and peer.ae_title.fullmatch(title) and peer.trusts(tls)
            ),
            None,
        )


def _certificate(text: str) -> re.Pattern[str]:
    digits = text.replace(":", "").lower()
    return re.compile(digits) if _FINGERPRINT.fullmatch(digits) else wildcards(text.lower())


def _names(tls: TlsFacts) -> Iterator[str]:
    """Whatever an entry may call the peer by, in lower case: host names know no other (RFC 4343)."""
    yield tls.certificate_sha256
    yield tls.certificate_subject.lower()
    yield from (name.lower() for name in tls.certificate_names)


@lru_cache(maxsize=1024)
def _parse(text: str) -> IpAddress | None:
    """The address; an IPv4 one that came over an IPv6 socket as the IPv4 one that it is."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
