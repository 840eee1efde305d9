"""Who may call: [[peers]], by calling AE title, address, and what TLS shows of the peer."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from dicomrelay.dicom.wildcards import Wildcards
from dicomrelay.net.callers import IpAddress, parse_ip_address
from dicomrelay.net.service import Admission, TlsFacts
from dicomrelay.settings import PeerSettings
from scp_gateway.preferences import transfer_syntax_uids

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
_LOOPBACK = ("127.0.0.0/8", "::1")
_FINGERPRINT = re.compile("[0-9a-f]{64}")  # SHA-256
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


class Right(StrEnum):
    """What a peer may do here, as the settings spell it; C-ECHO is for all who may call."""

    STORE = "store"
    QUERY = "query"
    MOVE = "move"
    GET = "get"
    COMMITMENT = "commitment"
    WORKLIST = "worklist"
    MPPS = "mpps"


ALL_RIGHTS: Final = frozenset(Right)


@dataclass(frozen=True, slots=True)
class CertificatePin:
    """What a certificate must be. Its form tells of what: a common name that reads like a fingerprint is none.

    Letter case does not count: host names know none (RFC 4343).
    """

    of_fingerprint: str = ""
    of_subject: Wildcards | None = None
    of_names: Wildcards | None = None

    @classmethod
    def of(cls, text: str) -> CertificatePin:
        """64 hexadecimal digits, colons or not, are a fingerprint; what has a = is a subject; all else is a name."""
        plain = text.strip().lower()
        digits = plain.replace(":", "")
        if _FINGERPRINT.fullmatch(digits):
            return cls(of_fingerprint=digits)
        if "=" in plain:
            return cls(of_subject=Wildcards(_unescaped(plain)))
        return cls(of_names=Wildcards(plain))

    def fits(self, tls: TlsFacts) -> bool:
        """Whether the peer has shown such a certificate; one that shows none fits nothing, not even *."""
        if not tls.certificate_sha256:
            return False
        if self.of_fingerprint:
            return tls.certificate_sha256 == self.of_fingerprint
        if self.of_subject is not None:
            return self.of_subject.matches(_unescaped(tls.certificate_subject.lower()))
        names = self.of_names
        # The first is for *, which takes also a certificate that names nobody.
        return names is not None and (
            names.matches("") or any(names.matches(name.lower()) for name in tls.certificate_names)
        )


def _unescaped(subject: str) -> str:
    """A subject (RFC 4514) whose escaped characters are letters like none: no comma within a name parts two."""
    return _ESCAPED.sub(lambda found: chr(0xF0000 + (ord(found[1]) & 0xFFFF)), subject)


@dataclass(frozen=True, slots=True)
class Peer:
    """An entry of [[peers]]."""

    ae_title: Wildcards
    network: IpNetwork | None  # None: any
    needs_tls: bool
    certificate: CertificatePin | None  # None: any, or none
    max_associations: int | None  # None: no limit of its own
    transfer_syntaxes: tuple[str, ...] | None  # UIDs, the best first; None: all
    identity_required: bool | None  # None: as the gateway
    rights: frozenset[Right]
    stations: tuple[Wildcards, ...] | None = None  # whose steps of the worklist it sees; None: not said

    @classmethod
    def of(cls, settings: PeerSettings, where: str) -> Peer:
        """From the settings; ConfigurationError names what in `where` is no transfer syntax."""
        names = settings.transfer_syntaxes
        return cls(
            Wildcards(settings.ae_title.strip()),
            None if settings.host == "*" else ipaddress.ip_network(settings.host, strict=False),
            settings.tls or settings.certificate is not None,
            CertificatePin.of(settings.certificate) if settings.certificate is not None else None,
            settings.max_associations,
            transfer_syntax_uids(names, f"{where}.transfer_syntaxes") if names is not None else None,
            settings.identity_required,
            frozenset(map(Right, settings.rights)),
            None
            if settings.worklist_ae_titles is None
            else tuple(Wildcards(each.strip()) for each in settings.worklist_ae_titles),
        )

    def covers(self, address: IpAddress) -> bool:
        return self.network is None or address in self.network

    def trusts(self, tls: TlsFacts | None) -> bool:
        if tls is None:
            return not self.needs_tls
        return self.certificate is None or self.certificate.fits(tls)


class Peers:
    """Decides by the peers of the settings.

    With none any AE title may call from loopback, and do everything: this machine has the files themselves. Nobody may from
    elsewhere.

    Raises
    ------
    ConfigurationError
        A transfer syntax of an entry is none.
    """

    def __init__(self, peers: Sequence[PeerSettings]) -> None:
        listed = peers or [PeerSettings(host=network, rights=[*ALL_RIGHTS]) for network in _LOOPBACK]
        self._peers = tuple(Peer.of(peer, f"peers.{number}") for number, peer in enumerate(listed))
        self._names_addresses = any(peer.network is not None for peer in self._peers)

    def of_address(self, peer_address: str) -> Admission:
        """What an address alone says.

        It is known when an entry names it, alone or in its network. Where no entry names any address, nobody is
        better known than another, and all are.
        """
        address = parse_ip_address(peer_address)
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
        address = parse_ip_address(peer_address)
        title = calling_ae_title.strip()
        if address is None:
            return None
        return next(
            (
                peer
                for peer in self._peers
                if peer.covers(address) and peer.ae_title.matches(title) and peer.trusts(tls)
            ),
            None,
        )
