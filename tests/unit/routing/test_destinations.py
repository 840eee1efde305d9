"""Destinations by name or by address, with their policies."""

from __future__ import annotations

from pathlib import Path

import pytest

from dicomrelay.cli.peer import find_peer
from dicomrelay.errors import ConfigurationError
from dicomrelay.ledger.values import DestinationInfo, DestinationKind
from dicomrelay.net.requestor import RemoteAe
from dicomrelay.routing import RetryPolicy, ad_hoc, configured, resolve
from dicomrelay.settings import DestinationSettings, DestinationTlsSettings, GatewaySettings, Settings

PACS = DestinationSettings(
    name="pacs",
    ae_title="PACS",
    host="10.0.0.9",
    port=11112,
    calling_ae_title="US",
    associations=5,
    max_bytes_per_s=20_000,
    retry_initial_s=1,
    retry_max_s=7,
    retry_attempts=3,
)


def test_a_name_of_the_settings_brings_its_policies() -> None:
    """Everything that the settings say of it."""
    found = resolve("pacs", [PACS])
    assert (found.name, found.ae_title, found.host, found.port) == ("pacs", "PACS", "10.0.0.9", 11112)
    assert (found.calling_ae_title, found.associations, found.max_bytes_per_s) == ("US", 5, 20_000)
    assert found.retry == RetryPolicy(1, 7, 3)


def test_an_address_has_the_policies_of_the_defaults() -> None:
    """Its text is its name, so that the ledger tells two addresses apart."""
    plain = DestinationSettings(name="x", ae_title="X", host="h")
    for found in (resolve("X Y@[::1]:104", [PACS]), ad_hoc("X Y@[::1]:104")):
        assert (found.name, found.ae_title, found.host, found.port) == ("X Y@[::1]:104", "X Y", "::1", 104)
        assert found.kind is DestinationKind.AD_HOC
        assert (found.associations, found.max_bytes_per_s) == (plain.associations, None)
        assert found.retry == RetryPolicy(plain.retry_initial_s, plain.retry_max_s, plain.retry_attempts)


def test_a_peer_is_called_as_the_caller_the_destination_or_the_gateway_says() -> None:
    """In that order; and to connect takes no longer than an answer may."""
    gateway = GatewaySettings(ae_title="RELAY")
    plain = DestinationSettings(name="x", ae_title="X", host="h", port=105, response_timeout_s=7)
    peer = resolve("x", [plain]).peer(gateway)
    assert (peer.remote, peer.calling_ae_title) == (RemoteAe("X", "h", 105), "RELAY")
    assert (peer.timeouts.connect_s, peer.timeouts.response_s) == (plain.connect_timeout_s, 7)
    assert (peer.tls, peer.identity) == (None, None)
    assert resolve("pacs", [PACS]).peer(gateway).calling_ae_title == "US"
    ours = resolve("pacs", [PACS]).peer(gateway, calling_ae_title="ME", timeout_s=3)
    assert (ours.calling_ae_title, ours.timeouts.connect_s, ours.timeouts.response_s) == ("ME", 3, 3)


def test_a_fault_of_its_files_names_the_destination(tmp_path: Path) -> None:
    """Not the kind of setting alone: there may be many."""
    tls = DestinationTlsSettings(ca=tmp_path / "none.pem")
    destination = DestinationSettings(name="x", ae_title="X", host="h", tls=tls)
    with pytest.raises(ConfigurationError, match=r"none\.pem: cannot be read.*destinations\.x\.tls\.ca"):
        find_peer(Settings(destinations=[destination]), "x")


def test_a_name_that_is_not_there_is_refused_with_those_that_are() -> None:
    """And with the other way to say it."""
    with pytest.raises(ConfigurationError, match=r"no destination 'pasc'; known: pacs\. .*AET@host:port"):
        resolve("pasc", [PACS])
    with pytest.raises(ConfigurationError, match="known: none"):
        resolve("pacs", [])
    with pytest.raises(ConfigurationError, match="is no address"):
        resolve("PACS@nowhere", [PACS])


def test_the_ledger_is_told_of_every_destination_of_the_settings() -> None:
    """What a worker on another host needs to find the peer."""
    plain = DestinationSettings(name="x", ae_title="X", host="h")
    assert configured([PACS, plain]) == [
        DestinationInfo("pacs", "PACS", "10.0.0.9", 11112, associations=5, calling_ae_title="US"),
        DestinationInfo("x", "X", "h", 104),
    ]
