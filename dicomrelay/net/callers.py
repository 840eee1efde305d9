"""Which entry of [[peers]] somebody is under, by calling AE title and address: what can be told of an instance later, too."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

from dicomrelay.dicom.wildcards import Wildcards
from dicomrelay.settings import PeerSettings

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@lru_cache(maxsize=1024)
def parse_ip_address(text: str) -> IpAddress | None:
    """The address; an IPv4 one that came over an IPv6 socket as the IPv4 one that it is. None when it is none."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


class Callers:
    """The entries, in their order. Unlike admission it knows nothing of TLS: where two entries differ in what they
    demand of it only, the first one counts for both.
    """

    def __init__(self, peers: Sequence[PeerSettings]) -> None:
        self._entries = tuple(
            (
                Wildcards(peer.ae_title.strip()),
                None if peer.host == "*" else ipaddress.ip_network(peer.host, strict=False),
                peer,
            )
            for peer in peers
        )
        self._find = lru_cache(maxsize=1024)(self._first)

    def find(self, calling_ae_title: str, peer_address: str) -> tuple[int, PeerSettings] | None:
        """The position and the first entry that fits; None: no entry does, or there are none."""
        return self._find(calling_ae_title, peer_address)

    def _first(self, calling_ae_title: str, peer_address: str) -> tuple[int, PeerSettings] | None:
        address = parse_ip_address(peer_address)
        title = calling_ae_title.strip()
        for position, (pattern, network, peer) in enumerate(self._entries):
            covered = network is None or (address is not None and address in network)
            if covered and pattern.matches(title):
                return position, peer
        return None
