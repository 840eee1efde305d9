"""Who may call."""

from __future__ import annotations

import pytest

from dicomrelay.net.service import Admission
from dicomrelay.settings import PeerSettings
from scp_gateway.admission import Peers


def peer(ae_title: str = "*", host: str = "*") -> PeerSettings:
    return PeerSettings(ae_title=ae_title, host=host)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_with_no_peers_any_ae_title_may_call_from_this_machine(address: str) -> None:
    """Safe to start without settings."""
    assert Peers([]).of_address(address) is Admission.KNOWN
    assert Peers([]).entry("ANY", address)


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "192.168.1.1", "fe80::1%eth0", "::ffff:10.0.0.1", "", "nonsense"]
)
def test_with_no_peers_nobody_may_call_from_elsewhere(address: str) -> None:
    """Open doors are made on purpose only."""
    assert Peers([]).of_address(address) is Admission.REFUSED
    assert Peers([]).entry("ANY", address) is None


def test_with_peers_title_and_address_must_agree_in_one_entry() -> None:
    """A title of one entry does not come in through the network of another."""
    peers = Peers([peer("CT_*", "10.0.0.0/24"), peer("MR1", "10.1.0.7")])
    assert peers.entry("CT_1", "10.0.0.200")
    assert peers.entry(" MR1 ", "10.1.0.7")
    assert peers.entry("CT_1", "10.1.0.7") is None
    assert peers.entry("MR1", "10.0.0.200") is None
    assert peers.entry("MR2", "10.1.0.7") is None
    assert peers.of_address("10.0.0.200") is Admission.KNOWN
    assert peers.of_address("10.2.0.1") is Admission.REFUSED


def test_with_peers_loopback_is_an_address_like_any_other() -> None:
    """Whoever names peers means these and no more."""
    peers = Peers([peer("CT_*", "10.0.0.0/24")])
    assert peers.of_address("127.0.0.1") is Admission.REFUSED
    assert Peers([peer("CT_*", "*")]).entry("CT_1", "127.0.0.1")


def test_an_ipv4_peer_is_known_when_it_comes_over_an_ipv6_socket() -> None:
    """::ffff:10.0.0.5 is 10.0.0.5."""
    assert Peers([peer(host="10.0.0.0/24")]).entry("CT", "::ffff:10.0.0.5")


@pytest.mark.parametrize(
    ("pattern", "title", "fits"),
    [
        ("CT_*", "CT_", True),
        ("CT_*", "ct_1", False),
        ("CT?", "CT1", True),
        ("CT?", "CT", False),
        ("C.T", "CXT", False),
        ("[CT]", "C", False),
        ("[CT]", "[CT]", True),
        ("*", "", True),
        ("CT", "CT\nX", False),
    ],
)
def test_only_star_and_question_mark_are_wildcards(pattern: str, title: str, fits: bool) -> None:
    """And upper case is not lower case (PS3.5 Table 6.2-1)."""
    assert (Peers([peer(pattern)]).entry(title, "10.0.0.1") is not None) == fits
