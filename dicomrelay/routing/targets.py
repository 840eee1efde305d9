"""A destination, ready to be delivered to."""

from __future__ import annotations

from dicomrelay.delivery import Target
from dicomrelay.edits import Profile, profile
from dicomrelay.net.peer import RemotePeer
from dicomrelay.net.proposal import RemoteAe
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
        A file of its TLS or identity, or the key of its edits, cannot be used; it names the file.
    """
    web = destination.web_peer(settings.gateway, calling_ae_title=calling_ae_title)
    if web is None:
        peer = destination.peer(settings.gateway, calling_ae_title=calling_ae_title)
    else:
        remote = RemoteAe(destination.ae_title, destination.host, destination.port)
        peer = RemotePeer(remote, web.calling_ae_title)
    return Target(
        peer,
        window=window or destination.window,
        policy=policy or destination.policy,
        copies=home.copies_folder(settings),
        limits=TranscodeLimits(min_free_bytes=settings.gateway.min_free_bytes),
        edits=_edits(destination, settings),
        web=web,
    )


def _edits(destination: Destination, settings: Settings) -> tuple[Profile, ...]:
    """The profile for all that goes to it; of one that is only an address, that of whoever is there."""
    known = [each for each in settings.destinations if each.name == destination.name]
    if not known:
        there = (destination.ae_title, destination.host, destination.port)
        known = [each for each in settings.destinations if (each.ae_title, each.host, each.port) == there]
    names = {each.edits for each in known}
    return tuple(profile(settings, name) for name in sorted(filter(None, names)))
