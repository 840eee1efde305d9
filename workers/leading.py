"""Which of several schedulers leads: it alone does what is the ledger's and not a spool's (docs/design/hosts.md)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from dicomrelay.errors import RelayError
from dicomrelay.ledger.named_leases import HEARD_MS, SCHEDULER, of_spool
from dicomrelay.log import get_logger
from dicomrelay.runtime.owner import is_gone
from workers.rooms import Rooms

_log = get_logger("dicomrelay.scheduler")
LEASE_S: Final = 10.0
# Who leads stops so long before another one may begin.
_MARGIN_S: Final = 2.0
_ASK_EVERY_S: Final = 2.0
_LOOK_EVERY_S: Final = 0.25
_COPIED: Final = (
    "another scheduler runs under the name of this spool: two hosts with a copied home take each other's work and cannot do it. "
    "Stop one, and start it with a home of its own; what its spool holds goes on when that disk is given the name back"
)


class Lead:
    """Whether we lead, by our own clock, and whose word that is. No I/O of its own; `ask` from one thread only.

    Parameters
    ----------
    take : callable
        Takes the lease, or holds it longer, for `LEASE_S`: its fence, or None while another has it; may raise RelayError.
    clock : callable
        Monotonic, in seconds.
    """

    def __init__(
        self, take: Callable[[], int | None], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._take = take
        self._clock = clock
        self._until = float("-inf")
        self.fence: int | None = None
        # Set when it was given up, or there was nothing to give up.
        self.given_up = threading.Event()

    def ask(self) -> None:
        """Ask once. What cannot be asked is no answer: what was said before holds until its time is over."""
        # From before the question: the database's time began later than this.
        asked_at = self._clock()
        try:
            fence = self._take()
        except RelayError:
            return
        self._until = float("-inf") if fence is None else asked_at + LEASE_S - _MARGIN_S
        self.fence = fence

    @property
    def leads(self) -> bool:
        """Whether nobody else can lead now."""
        return self._clock() < self._until


class OneOfThisName:
    """Whether another scheduler runs under the name of our spool: a home, or a machine, that was copied. No I/O.

    Each of two takes the row of that name in turn, and its fence rises each time.
    """

    def __init__(self) -> None:
        self._fence: int | None = None

    def is_another_there(self, fence: int | None) -> bool:
        """Told the fence of each time that we took the row: whether somebody else had it since the time before."""
        before, self._fence = self._fence, fence
        return None not in (before, fence) and before != fence


class Reign:
    """What the leader does in threads of its own, begun when it leads and ended when it does not.

    Parameters
    ----------
    duties : sequence of callable
        Each goes on until the event that it is given is set.
    """

    def __init__(self, duties: Sequence[Callable[[threading.Event], object]]) -> None:
        self._duties = duties
        self._stop: threading.Event | None = None

    @property
    def is_on(self) -> bool:
        """Whether it has begun."""
        return self._stop is not None

    def set(self, leads: bool) -> bool:
        """Begin or end it, or leave it as it is; whether it has changed."""
        if leads == self.is_on:
            return False
        if self._stop is not None:
            self._stop.set()
            self._stop = None
            return True
        stop = self._stop = threading.Event()
        for duty in self._duties:
            threading.Thread(target=duty, args=(stop,), daemon=True).start()
        return True


def lead(rooms: Rooms, reign: Reign, stop: threading.Event) -> Lead:
    """Begin to ask who leads, and reign accordingly, until `stop` is set; then the lead is given up.

    Where the ledger is a file of this home there is one scheduler, and it leads without asking.
    """
    if not rooms.reads_as:
        alone = Lead(lambda: 0, clock=lambda: 0.0)
        alone.ask()
        alone.given_up.set()
        reign.set(True)
        threading.Thread(target=_end, args=(reign, stop), name="reign", daemon=True).start()
        return alone
    leases, owner, names = rooms.ledger.named_leases, rooms.owner, OneOfThisName()
    own = Lead(lambda: leases.take(SCHEDULER, owner=owner, lease_ms=round(1000 * LEASE_S), is_gone=is_gone))

    def ask() -> None:
        while True:
            own.ask()
            with suppress(RelayError):  # the sweeper, who asks the same database, says so
                fence = leases.take(of_spool(rooms.host), owner=owner, lease_ms=HEARD_MS, is_gone=_any)
                if names.is_another_there(fence):
                    _log.error(_COPIED, action="spool.name-twice", spool=rooms.host)
            if stop.wait(_ASK_EVERY_S):
                break
        try:
            leases.give_up(SCHEDULER, owner=owner)
        except RelayError as error:
            _log.warning("the lead is left to its time", reason=str(error))
        own.given_up.set()

    def look() -> None:
        while not stop.wait(_LOOK_EVERY_S):
            if reign.set(own.leads):
                _log.info("leads" if reign.is_on else "leads no more", fence=own.fence)
        reign.set(False)

    threading.Thread(target=ask, name="ask-who-leads", daemon=True).start()
    threading.Thread(target=look, name="reign", daemon=True).start()
    return own


def _any(_owner: str) -> bool:
    """A spool has one scheduler, and it is us."""
    return True


def _end(reign: Reign, stop: threading.Event) -> None:
    stop.wait()
    reign.set(False)
