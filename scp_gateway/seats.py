"""Who sits on the associations that are open, and so how many an entry of [[peers]] has."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

from scp_gateway.admission import Peer


@dataclass(frozen=True, slots=True)
class Seat:
    """One association, from its A-ASSOCIATE-RQ to its end.

    Attributes
    ----------
    peer : Peer or None
        The entry that admitted it; None without [[peers]].
    user : str
        As its identity has shown; "" for none.
    specialised : frozenset of str
        SOP classes that are stored on this association only (PS3.7 Annex D.3.3.6).
    """

    peer: Peer | None = None
    user: str = ""
    specialised: frozenset[str] = frozenset()


_NOBODY = Seat()


class Seats:
    """The seats by the id of their connection. For all threads of a listener.

    Not by address and port: a peer that calls from a fixed port may be back while its last association, dead since, has
    commits still to do.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: dict[str, Seat] = {}

    def take(self, connection_id: str, peer: Peer | None) -> bool:
        """Sit down, if the entry has room."""
        with self._lock:
            if peer is not None and peer.max_associations is not None:
                sitting = sum(seat.peer is peer for seat in self._taken.values())
                if sitting >= peer.max_associations:
                    return False
            self._taken[connection_id] = Seat(peer)
            return True

    def note(self, connection_id: str, *, user: str, specialised: frozenset[str]) -> None:
        """What has been negotiated since."""
        with self._lock:
            self._taken[connection_id] = replace(
                self._taken[connection_id], user=user, specialised=specialised
            )

    def of(self, connection_id: str) -> Seat:
        """Who sits there; nobody in particular when the seat is free."""
        return self._taken.get(connection_id, _NOBODY)

    def leave(self, connection_id: str) -> Seat:
        """The association is over, or was not made; who sat there."""
        with self._lock:
            return self._taken.pop(connection_id, _NOBODY)
