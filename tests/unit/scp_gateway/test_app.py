"""What a full house needs of the machine."""

from __future__ import annotations

import pytest

from dicomrelay.settings import GatewaySettings
from scp_gateway.limits import descriptors_of


@pytest.mark.parametrize(
    ("outstanding", "each"),
    [
        (1, 2),  # a socket and a file
        (2, 5),  # a socket, two files, the two ends of a pipe
        (32, 35),
    ],
)
def test_each_association_needs_so_many_descriptors(outstanding: int, each: int) -> None:
    few, more = (
        GatewaySettings(max_associations=count, reserved_associations=0, max_outstanding=outstanding)
        for count in (100, 101)
    )
    assert descriptors_of(more) - descriptors_of(few) == each
    assert descriptors_of(few) > 100 * each + 512  # those that are being rejected have a socket too
