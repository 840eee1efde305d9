"""Asks a destination by C-ECHO whether it is there (PS3.7 Section 9.1.5)."""

from __future__ import annotations

from contextlib import suppress

from dicomrelay.dicom.transfer_syntaxes import IMPLICIT_VR_LITTLE_ENDIAN
from dicomrelay.dicom.uids import VERIFICATION
from dicomrelay.errors import NoAcceptedContext
from dicomrelay.routing import Destination
from dicomrelay.settings import GatewaySettings


def probe(destination: Destination, gateway: GatewaySettings) -> None:
    """Come back when the destination is alive. Whatever status it answers, it answered.

    Raises
    ------
    AssociationError
        It is not. One that takes no Verification context but speaks is.
    ConfigurationError
        It cannot be called as it is set.
    """
    with (
        suppress(NoAcceptedContext),
        destination.peer(gateway).associate([(VERIFICATION, (IMPLICIT_VR_LITTLE_ENDIAN,))]) as association,
    ):
        association.echo()
