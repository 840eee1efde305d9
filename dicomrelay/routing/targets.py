"""A destination, ready to be delivered to."""

from __future__ import annotations

from dicomrelay.delivery import Target
from dicomrelay.routing.destinations import Destination
from dicomrelay.runtime import home
from dicomrelay.settings import Settings, TransferSyntaxPolicy
from dicomrelay.transcode import TranscodeLimits


def target_of(
    destination: Destination,
    settings: Settings,
    *,
    calling_ae_title: str | None = None,
    window: int | None = None,
    policy: TransferSyntaxPolicy | None = None,
) -> Target:
    """What `deliver` needs of a destination; what is given wins over its settings.

    Raises
    ------
    ConfigurationError
        A file of its TLS or identity cannot be used; it names the file.
    """
    return Target(
        destination.peer(settings.gateway, calling_ae_title=calling_ae_title),
        window=window or destination.window,
        policy=policy or destination.policy,
        copies=home.copies_folder(settings),
        limits=TranscodeLimits(min_free_bytes=settings.gateway.min_free_bytes),
    )
