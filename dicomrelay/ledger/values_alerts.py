"""Alerts as values (docs/design/alerts.md)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class AlertKind(StrEnum):
    """What it is about."""

    ATTENTION = "attention"
    DESTINATION = "destination"
    DISK = "disk"
    CERTIFICATE = "certificate"


class Severity(StrEnum):
    """How soon somebody should look."""

    WARNING = "warning"
    CRITICAL = "critical"


class Told(StrEnum):
    """What a message says of its alert."""

    FIRING = "firing"
    LASTING = "lasting"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that is so now.

    Attributes
    ----------
    words : str
        What is so, with numbers; nothing that a peer said.
    do : str
        What to do about it.
    """

    kind: AlertKind
    subject: str
    severity: Severity
    words: str
    do: str


@dataclass(frozen=True, slots=True)
class Alert:
    """A condition that has begun. Times are epoch milliseconds by the database's clock; `ended_at_ms` None while it lasts."""

    id: str
    scope: str
    kind: AlertKind
    subject: str
    severity: Severity
    words: str
    do: str
    began_at_ms: int
    seen_at_ms: int
    told_at_ms: int
    ended_at_ms: int | None


@dataclass(frozen=True, slots=True)
class AlertMessage:
    """What a channel is to be told.

    Attributes
    ----------
    attempts : int
        Those that were made.
    first_ms : int
        How long ago it was written, in milliseconds.
    """

    id: str
    alert: Alert
    channel: str
    told: Told
    attempts: int
    first_ms: int
    last_error: str = ""
    state: str = "due"
