"""Figures and times as people read them. No I/O."""

from __future__ import annotations

from datetime import UTC, datetime

from dicomrelay.delivery.reasons import parted
from dicomrelay.text import shown, size

NONE = "–"


def count(number: int, one: str, more: str = "") -> str:
    """Such as "1 instance", "2,000 instances"."""
    return f"{number:,} {one if number == 1 else more or one + 's'}"


def per_second(amount: float) -> str:
    """Bytes a second; "–" when nothing moves."""
    return f"{size(amount)}/s" if amount else NONE


def instances_per_second(number: float) -> str:
    """Instances a second; "–" when nothing moves."""
    if not number:
        return NONE
    return f"{number:.1f}/s" if number < 100 else f"{number:,.0f}/s"


def span(seconds: float) -> str:
    """A length of time in its two largest units: "3 min 20 s", "2 d 4 h"."""
    left = max(0, round(seconds))
    if left < 60:
        return f"{left} s"
    parts: list[str] = []
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        number, left = divmod(left, length)
        if number or parts:
            parts.append(f"{number} {unit}" if number else "")
        if len(parts) == 2:
            break
    return " ".join(filter(None, parts))


def age(milliseconds: int | None) -> str:
    """How long ago; "–" for nothing."""
    return NONE if milliseconds is None else span(milliseconds / 1000)


def moment(at_ms: int) -> str:
    """A moment in UTC: "2026-11-22 03:45:06"."""
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"


def stamp(at_ms: int) -> str:
    """The same for the attribute of a `time` element (RFC 3339)."""
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def clock(at_ms: int) -> str:
    """Hours and minutes of it, in UTC."""
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%H:%M}"


def ours(reason: str) -> str:
    """A reason of the ledger without what a peer says: that may name a patient, and these pages never do."""
    own, theirs = parted(reason)
    more = "the peer says more (`dicomrelay status --verbose` shows it)" if theirs else ""
    return shown("; ".join(filter(None, (own, more))))
