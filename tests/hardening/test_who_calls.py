"""Who is let in: by calling and called AE title, and by address; everybody else is told so, for good."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chaos.gateway_process import GatewayProcess
from dicomrelay.ul.pdu import AssociateAccept, AssociateReject
from tests.support.attacks import connect_from
from tests.support.wire import REQUEST, associate

SETTINGS = {"check_called_ae_title": True, "ae_title": "RELAY"}
MORE = """
[[peers]]
ae_title = "WIRE"
host = "127.0.0.0/24"
[[peers]]
ae_title = "ECHO"
host = "127.0.0.1"
"""
KNOWN, CALLING, CALLED, ADDRESS = (
    None,
    AssociateReject(1, 1, 3),
    AssociateReject(1, 1, 7),
    AssociateReject(1, 1, 1),
)


@pytest.mark.parametrize(
    ("calling", "called", "address", "answer"),
    [
        ("WIRE", "RELAY", "127.0.0.1", KNOWN),
        ("WIRE", "RELAY", "127.0.0.200", KNOWN),
        ("wire", "RELAY", "127.0.0.1", CALLING),
        ("WIRE2", "RELAY", "127.0.0.1", CALLING),
        ("WIR?", "RELAY", "127.0.0.1", CALLING),
        ("*", "RELAY", "127.0.0.1", CALLING),
        ("", "RELAY", "127.0.0.1", CALLING),
        ("ECHO", "RELAY", "127.0.0.2", CALLING),
        ("WIRE", "OTHER", "127.0.0.1", CALLED),
        ("WIRE", "", "127.0.0.1", CALLED),
        ("WIRE", "relay", "127.0.0.1", CALLED),
        ("WIRE", "RELAY", "127.0.1.1", ADDRESS),
    ],
)
def test_a_caller_is_known_by_title_and_address(
    gateway: GatewayProcess, calling: str, called: str, address: str, answer: AssociateReject | None
) -> None:
    """PS3.8 Table 9-21, source 1."""
    with connect_from(gateway, address) as sock:
        said = associate(sock, replace(REQUEST, calling_ae_title=calling, called_ae_title=called))
    assert isinstance(said, AssociateAccept) if answer is None else said == answer
