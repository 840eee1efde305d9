"""The first lines of a report: its deliveries counted, in all and by destination. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from dicomrelay.cli.reporting.deliveries import VERIFIED, Delivery
from dicomrelay.ledger.values import DeliveryState


@dataclass(slots=True)
class Tally:
    """Counts of some deliveries; times are epoch milliseconds."""

    states: Counter[str] = field(default_factory=Counter)
    instances: set[str] = field(default_factory=set)
    attempts: int = 0
    bytes: int = 0
    verified: int = 0
    first_at: int | None = None
    last_at: int | None = None

    def add(self, delivery: Delivery) -> None:
        """One more."""
        self.instances.add(delivery.instance.instance_id)
        if not delivery.destination:
            return
        self.states[delivery.state] += 1
        self.attempts += delivery.attempts
        self.verified += delivery.verification == VERIFIED
        if delivery.state in (DeliveryState.DELIVERED, DeliveryState.WARNING):
            self.bytes += delivery.bytes
        if delivery.started_at is not None and delivery.ended_at is not None:
            self.first_at = min(filter(None, (self.first_at, delivery.started_at)), default=None)
            self.last_at = max(filter(None, (self.last_at, delivery.ended_at)), default=None)

    def as_json(self, **about: Any) -> dict[str, Any]:
        """As it stands in a report."""
        return {
            **about,
            "instances": len(self.instances),
            "deliveries": sum(self.states.values()),
            "states": dict(sorted(self.states.items())),
            "verified": self.verified,
            "attempts": self.attempts,
            "delivered_bytes": self.bytes,
            "first_started_at": self.first_at,
            "last_ended_at": self.last_at,
        }


def summarise(found: Iterable[Delivery]) -> list[dict[str, Any]]:
    """One row for all, destination "", with what was archived and set aside; then one for each destination."""
    everything, by_destination = Tally(), dict[str, Tally]()
    archived: set[str] = set()
    aside: set[str] = set()
    for delivery in found:
        everything.add(delivery)
        if delivery.destination:
            by_destination.setdefault(delivery.destination, Tally()).add(delivery)
        if delivery.instance.archived_at is not None:
            archived.add(delivery.instance.instance_id)
        if delivery.instance.set_aside:
            aside.add(delivery.instance.instance_id)
    total = everything.as_json(destination="", archived=len(archived), set_aside=len(aside))
    return [
        total,
        *(tally.as_json(destination=name) for name, tally in sorted(by_destination.items())),
    ]


def in_words(summary: list[dict[str, Any]]) -> list[str]:
    """The same for people."""
    total, *destinations = summary
    held = f"{total['archived']} archived, {total['set_aside']} set aside"
    lines = [f"{total['instances']} instances, {held}; {total['deliveries']} deliveries"]
    for row in destinations:
        states = ", ".join(f"{count} {state}" for state, count in row["states"].items())
        verified = f", {row['verified']} verified" if row["verified"] else ""
        lines.append(f"{row['destination']}: {states}{verified}; {row['attempts']} attempts")
    return lines
