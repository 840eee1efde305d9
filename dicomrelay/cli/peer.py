"""The peer of an SCU tool, as the options and the settings name it."""

from __future__ import annotations

from dicomrelay.net.peer import RemotePeer
from dicomrelay.routing import resolve
from dicomrelay.settings import Settings


def find_peer(
    settings: Settings, text: str, calling_ae_title: str | None = None, timeout_s: float | None = None
) -> RemotePeer:
    """A peer by the name of a destination in the settings, with its TLS and identity, or by AET@host:port.

    Raises
    ------
    ConfigurationError
        There is no such name, it is no address, or a file of its TLS or identity cannot be used.
    """
    destination = resolve(text, settings.destinations)
    return destination.peer(settings.gateway, calling_ae_title=calling_ae_title, timeout_s=timeout_s)
