"""Who sits on the associations that are open, and so how many an entry of [[peers]] has."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

from dicomrelay.net.service import PeerConnection
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
    """The seats by address and port, which are one connection's while it lives. For all threads of a listener."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: dict[tuple[str, int], Seat] = {}

    def take(self, connection: PeerConnection, peer: Peer | None) -> bool:
        """Sit down, if the entry has room."""
        with self._lock:
            if peer is not None and peer.max_associations is not None:
                sitting = sum(seat.peer is peer for seat in self._taken.values())
                if sitting >= peer.max_associations:
                    return False
            self._taken[connection.address, connection.port] = Seat(peer)
            return True

    def note(self, connection: PeerConnection, *, user: str, specialised: frozenset[str]) -> None:
        """What has been negotiated since."""
        key = connection.address, connection.port
        with self._lock:
            self._taken[key] = replace(self._taken[key], user=user, specialised=specialised)

    def of(self, address: str, port: int) -> Seat:
        """Who sits there; nobody in particular when the seat is free."""
        return self._taken.get((address, port), _NOBODY)

    def leave(self, address: str, port: int) -> None:
        """The association is over, or was not made."""
        with self._lock:
            self._taken.pop((address, port), None)
