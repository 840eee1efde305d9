"""What a request wants to do, by method and path (docs/design/access.md)."""

from __future__ import annotations

import re
from typing import Final

from dicomrelay.access import Action

_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_WRITES: Final = (
    (re.compile(r"/studies(/.*)?"), Action.STORE),
    (re.compile(r"/worklist(/.*)?"), Action.SCHEDULE),
    # It changes nothing but the stream that it begins.
    (re.compile(r"/streams(/.*)?"), Action.VIEW),
)


def action_of(method: str, path: str) -> Action:
    """The action; what is no reading and stands nowhere here is for those who may do everything.

    Parameters
    ----------
    method : str
        Of HTTP; "" for a WebSocket.
    """
    if method in _READS or not method:
        return Action.VIEW
    found = (action for pattern, action in _WRITES if pattern.fullmatch(path))
    return next(found, Action.MANAGE_USERS)
