"""Who may change something over the web, or read what is no image: by the address, or by who it shows to be."""

from __future__ import annotations

from typing import Final

from dicomrelay.settings import Settings, is_loopback
from streamer.answers import Scope
from streamer.audited import CALLER
from streamer.door import FOREIGN

_FORWARDED: Final = frozenset({b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-proto", b"x-real-ip"})
NOBODY_KNOWN: Final = "nobody shows here who it is: `dicomrelay users add`, or set [streamer.access]"
_OF_A_PAGE: Final = (
    "pages of another site store only where they show who they are: see `dicomrelay users`, [streamer.access]"
)


def closed(settings: Settings) -> str:
    """Why nobody may, as things are at the start; "" when some may."""
    knows_some = settings.streamer.access is not None or bool(settings.users) or settings.users_path.exists()
    return "" if knows_some or is_loopback(settings.streamer.host) else NOBODY_KNOWN


def refusal(scope: Scope) -> str:
    """Why whoever sends a request may not; "" when it may."""
    caller = scope.get(CALLER, "")
    if caller:
        return ""
    # On loopback a proxy has the address of this machine: who is behind it must say who it is.
    if any(name in _FORWARDED for name, _ in scope["headers"]):
        return NOBODY_KNOWN
    # cors_origins let pages of other sites read. What they would change, the person in front of the browser does not see.
    return _OF_A_PAGE if scope.get(FOREIGN) else ""
