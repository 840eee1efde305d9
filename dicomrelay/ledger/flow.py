"""The ledger's room for flow: what is known of destinations, and what a runner asks and says of them."""

from __future__ import annotations

from collections.abc import Sequence

from dicomrelay.ledger import contacts, due, flow_summary, handing_back, readable
from dicomrelay.ledger.breaker import BreakerPolicy, BreakerState
from dicomrelay.ledger.due import Wanted
from dicomrelay.ledger.engine import Database
from dicomrelay.ledger.flow_summary import DestinationFlow
from dicomrelay.ledger.handing_back import Signal
from dicomrelay.ledger.values import ClaimedTransfer, DueTransfer


class Flow:
    """See docs/design/flow.md. Each method is one transaction, and raises as `Ledger`'s do."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def wanted(self, *, host: str = "") -> list[Wanted]:
        """Destinations with something due and a free place, who waits longest first; with a host, of what it can read."""
        with self._database.read() as work:
            return due.waited_for(work, host=host)

    def readable_anywhere(self, study_instance_uids: Sequence[str], *, limit: int) -> list[DueTransfer]:
        """Transfers of these studies that are due, and of which nothing is in a spool alone any more: any host can send them."""
        with self._database.read() as work:
            return readable.anywhere(work, study_instance_uids, limit=limit)

    def destinations(self, name: str | None = None) -> tuple[DestinationFlow, ...]:
        """Every destination that the ledger knows, or one of them, by name: its state and what waits for it."""
        with self._database.read() as work:
            return flow_summary.destinations_flow(work, name)

    # Contacts

    def reached(self, name: str) -> bool:
        """The destination answered: its breaker is closed. Whether it was not before; then all that waited is due now."""
        return self._database.transact(lambda work: contacts.reached(work, name))

    def failed(self, name: str, *, policy: BreakerPolicy, jitter: float, error: str) -> BreakerState:
        """An association failed before any answer; what the breaker is now.

        Parameters
        ----------
        jitter : float
            A random number, 0 <= jitter < 1.
        error : str
            In words of ours, for people.
        """
        return self._database.transact(
            lambda work: contacts.failed(work, name, policy=policy, jitter=jitter, error=error)
        )

    def turned_away(self, name: str, *, policy: BreakerPolicy, jitter: float, error: str) -> BreakerState:
        """An association was rejected for now; what the breaker is.

        While others run the destination is only full, and takes fewer from now on; alone, it failed.
        """
        return self._database.transact(
            lambda work: contacts.turned_away(work, name, policy=policy, jitter=jitter, error=error)
        )

    def slower(self, name: str) -> bool:
        """The destination became much slower; whether it takes fewer associations from now on."""
        return self._database.transact(lambda work: contacts.slower(work, name))

    # Handing back

    def signal(self, claimed: ClaimedTransfer) -> Signal:
        """Whether a running transfer goes on, should be handed back, or is not ours any more."""
        with self._database.read() as work:
            return handing_back.signal(work, claimed)

    def give_way(self, claimed: ClaimedTransfer) -> bool:
        """Hand it back if that is still so; of several that could, one does. Whether it was handed back."""
        return self._database.transact(lambda work: handing_back.give_way(work, claimed))

    def hand_back(self, claimed: ClaimedTransfer, why: str) -> bool:
        """Hand a transfer back in its old place, without an attempt counted. False when the fence is old."""
        return self._database.transact(lambda work: handing_back.hand_back(work, claimed, why))

    def probe_failed(
        self, claimed: ClaimedTransfer, *, policy: BreakerPolicy, jitter: float, error: str
    ) -> None:
        """The probe of a trial failed: the breaker opens again for longer, and the transfer is handed back."""
        self._database.transact(
            lambda work: handing_back.probe_failed(work, claimed, policy=policy, jitter=jitter, error=error)
        )

    # Hold

    def hold(self, name: str) -> bool | None:
        """Send nothing to a destination until it is released. Whether it was not held before; None when nobody knows it."""
        return self._database.transact(lambda work: contacts.hold(work, name))

    def release(self, name: str) -> bool | None:
        """Send to it again. Whether it was held; None when nobody knows it."""
        return self._database.transact(lambda work: contacts.release(work, name))

    # Bytes per second

    def book(self, name: str, *, count: int, bytes_per_s: int) -> int:
        """Book a destination's line for `count` bytes, behind all that was booked before; the wait in milliseconds."""
        return self._database.transact(
            lambda work: contacts.book(work, name, count=count, bytes_per_s=bytes_per_s)
        )
