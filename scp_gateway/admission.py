"""Who may call: [[peers]], by calling AE title and address."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from dicomrelay.net.service import Admission
from dicomrelay.settings import PeerSettings

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class _Peer:
    ae_title: re.Pattern[str]
    network: IpNetwork | None  # None: any

    def covers(self, address: IpAddress) -> bool:
        return self.network is None or address in self.network


class Peers:
    """Decides by the peers of the settings; with none, any AE title may call from loopback and nobody from elsewhere."""

    def __init__(self, peers: Sequence[PeerSettings]) -> None:
        self._peers = tuple(
            _Peer(
                _wildcards(peer.ae_title),
                None if peer.host == "*" else ipaddress.ip_network(peer.host, strict=False),
            )
            for peer in peers
        )
        self._names_addresses = any(peer.network is not None for peer in self._peers)

    def of_address(self, peer_address: str) -> Admission:
        """What an address alone says.

        It is known when an entry names it, alone or in its network. Where no entry names any address, nobody is
        better known than another, and all are.
        """
        address = _parse(peer_address)
        if address is None:
            return Admission.REFUSED
        if not self._peers:
            return Admission.KNOWN if address.is_loopback else Admission.REFUSED
        covering = [peer for peer in self._peers if peer.covers(address)]
        if not covering:
            return Admission.REFUSED
        if not self._names_addresses or any(peer.network is not None for peer in covering):
            return Admission.KNOWN
        return Admission.STRANGER

    def admits(self, calling_ae_title: str, peer_address: str) -> bool:
        """Whether that AE title may call from that address."""
        if not self._peers:
            return self.of_address(peer_address) is not Admission.REFUSED
        address = _parse(peer_address)
        title = calling_ae_title.strip()
        return address is not None and any(
            peer.covers(address) and peer.ae_title.fullmatch(title) for peer in self._peers
        )


def _wildcards(pattern: str) -> re.Pattern[str]:
    """* and ? and nothing else; AE titles tell upper from lower case (PS3.5 Table 6.2-1)."""
    parts = {"*": ".*", "?": "."}
    return re.compile(
        "".join(parts.get(character, re.escape(character)) for character in pattern.strip()), re.DOTALL
    )


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
