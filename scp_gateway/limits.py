"""How many associations, and open files for them, the settings allow."""

from __future__ import annotations

from typing import Final

from dicomrelay.log import get_logger
from dicomrelay.net.limits import AcceptorLimits
from dicomrelay.runtime.descriptors import want_descriptors
from dicomrelay.settings import GatewaySettings

_log = get_logger("dicomrelay.gateway")

# Log, listener, spool, its reserve of empty files, and whatever libraries hold.
_OTHER_DESCRIPTORS: Final = 256


def descriptors_of(gateway: GatewaySettings) -> int:
    """Those of a full house.

    A socket for each association and for each that is rejected, a file for each instance under way, and the two ends
    of the pipe that an association with a window is woken by.
    """
    under_way = max(1, gateway.max_outstanding)
    each = 1 + under_way + (2 if under_way > 1 else 0)
    return gateway.max_associations * each + limits_of(gateway).max_refusals + _OTHER_DESCRIPTORS


def make_room_for_descriptors(gateway: GatewaySettings) -> None:
    """As many as a full house needs, or a word in the log that it may run out of them."""
    wanted = descriptors_of(gateway)
    limit = want_descriptors(wanted)
    if limit < wanted:
        _log.warning(
            "fewer open files are allowed than a full house may need: raise the hard limit (LimitNOFILE=), or lower "
            "gateway.max_associations or gateway.max_outstanding",
            action="gateway.few-descriptors",
            limit=limit,
            wanted=wanted,
        )


def limits_of(gateway: GatewaySettings) -> AcceptorLimits:
    """The acceptor's limits, from the settings."""
    return AcceptorLimits(
        max_associations=gateway.max_associations,
        max_associations_per_peer=gateway.max_associations_per_peer,
        reserved_associations=gateway.reserved_room,
        max_pdu_bytes=gateway.max_pdu_bytes,
        association_timeout_s=gateway.association_timeout_s,
        pdu_timeout_s=gateway.pdu_timeout_s,
        idle_timeout_s=gateway.idle_timeout_s,
    )
