"""What is worth telling, from figures of a moment. No I/O."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from dicomrelay.ledger.figures import MOST_ATTENTION, Figures
from dicomrelay.ledger.flow_summary import DestinationFlow
from dicomrelay.ledger.values_alerts import AlertKind, Condition, Severity
from dicomrelay.settings.alerts import AlertSettings

_DAY_S = 86_400.0
_WHY = {
    "conflict": "came with the UID of another and other bytes, and are set aside",
    "refused": "were refused by a destination",
    "gave_up": "were not delivered, and the attempts are used up",
    "suspect": "end associations when they are sent",
    "blocked": "cannot be sent until somebody mends something",
    "archive": "could not be archived",
    "frames": "have frames that could not be prepared",
    "unrouted": "are wanted by no rule and no archive",
    "unverified": "were acknowledged by a destination that does not confirm that it has them",
}


def of_the_ledger(found: Figures, settings: AlertSettings) -> list[Condition]:
    """What the ledger says: instances that need attention, destinations that do not answer."""
    return [*_attention(found.attention), *_destinations(found.destinations, settings)]


def _attention(rows: Mapping[str, int]) -> Iterator[Condition]:
    for kind, count in sorted(rows.items()):
        many = f"{MOST_ATTENTION} or more" if count >= MOST_ATTENTION else str(count)
        yield Condition(
            AlertKind.ATTENTION,
            kind,
            Severity.WARNING,
            f"{many} instance(s) {_WHY.get(kind, 'need attention')}",
            "dicomrelay status",
        )


def _destinations(found: Sequence[DestinationFlow], settings: AlertSettings) -> Iterator[Condition]:
    for each in found:
        silent_s = (each.open_for_ms or 0) / 1000
        if each.breaker == "closed" or silent_s < settings.destination_after_seconds:
            continue
        yield Condition(
            AlertKind.DESTINATION,
            each.name,
            Severity.CRITICAL,
            f"{each.name} has not answered for {span(silent_s)}; {each.instances} instance(s) wait for it",
            f"dicomrelay echo {each.name}",
        )


def of_disks(free: Mapping[str, int], *, low_bytes: int) -> list[Condition]:
    """Disks with less than `low_bytes` free, by what lies there."""
    return [
        Condition(
            AlertKind.DISK,
            place,
            Severity.CRITICAL,
            f"the disk of the {place} has {count / 1e9:.1f} GB free, less than {low_bytes / 1e9:.1f} GB",
            "make room; docs/howto/bounds-and-retention.md",
        )
        for place, count in sorted(free.items())
        if count < low_bytes
    ]


def of_certificates(ends: Mapping[str, float], now_s: float, *, days: float) -> list[Condition]:
    """Certificates that expire in fewer days, by whose they are; times in seconds since 1970."""
    found = []
    for of, end_s in sorted(ends.items()):
        left_s = end_s - now_s
        if left_s < days * _DAY_S:
            words = f"expired {span(-left_s)} ago" if left_s <= 0 else f"expires in {span(left_s)}"
            severity = Severity.CRITICAL if left_s <= 0 else Severity.WARNING
            condition = Condition(
                AlertKind.CERTIFICATE, of, severity, f"the certificate of {of} {words}", "docs/howto/tls.md"
            )
            found.append(condition)
    return found


class Patience:
    """Lets conditions of a kind through that were so for long enough, at each look since.

    Parameters
    ----------
    clock : callable
        Monotonic, in seconds.
    """

    def __init__(
        self, kind: AlertKind, seconds: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._kind = kind
        self._seconds = seconds
        self._clock = clock
        self._since: dict[str, float] = {}

    def let(self, found: Sequence[Condition]) -> list[Condition]:
        """Those that may be told."""
        now = self._clock()
        subjects = {each.subject for each in found if each.kind is self._kind}
        self._since = {name: self._since.get(name, now) for name in subjects}
        return [
            each
            for each in found
            if each.kind is not self._kind or now - self._since[each.subject] >= self._seconds
        ]


def span(seconds: float) -> str:
    """A time for people, in one unit."""
    for unit, length in (("day", _DAY_S), ("hour", 3600.0), ("minute", 60.0)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return "less than a minute"
