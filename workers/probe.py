"""Asks a destination whether it is there: by C-ECHO (PS3.7 Section 9.1.5), over the web by a search that finds nothing."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Final

from dicomrelay.dicom.transfer_syntaxes import IMPLICIT_VR_LITTLE_ENDIAN
from dicomrelay.dicom.uids import VERIFICATION
from dicomrelay.errors import NoAcceptedContext
from dicomrelay.routing import Destination
from dicomrelay.settings import GatewaySettings

# For each step: who is alive answers this at once, and meanwhile everything waits for the answer.
_PATIENCE_S: Final = 10.0


def probe(destination: Destination, gateway: GatewaySettings) -> None:
    """Come back when the destination is alive. Whatever status it answers, it answered.

    Raises
    ------
    AssociationError
        It is not. One that takes no Verification context but speaks is.
    ConfigurationError
        It cannot be called as it is set.
    """
    web = destination.web_peer(gateway, timeout_s=min(destination.response_timeout_s, _PATIENCE_S))
    if web is not None:
        from dicomrelay.web.stow import StowClient  # noqa: PLC0415 - HTTP only where it is spoken

        with StowClient(web) as client:
            client.probe()
        return
    peer = destination.peer(gateway, timeout_s=min(destination.response_timeout_s, _PATIENCE_S))
    peer = replace(peer, timeouts=replace(peer.timeouts, association_s=_PATIENCE_S))
    with (
        suppress(NoAcceptedContext),
        peer.associate([(VERIFICATION, (IMPLICIT_VR_LITTLE_ENDIAN,))]) as association,
    ):
        association.echo()
