"""How much of the trail the repository has not heard."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from dicomrelay.audit.auditing import FOLDER, trail_of
from dicomrelay.audit.shipped import Place, Shipped
from dicomrelay.audit.trail import read_line
from dicomrelay.settings import Settings


@dataclass(frozen=True, slots=True)
class Backlog:
    """What is to be sent: how many bytes of the trail, and for how long the first of it waits, in seconds."""

    bytes: int = 0
    oldest_s: float = 0.0


def backlog_of(settings: Settings) -> Backlog:
    """Of a home.

    Raises
    ------
    AuditError
        The trail cannot be read.
    """
    trail = trail_of(settings)
    segments = trail.segments()
    if not segments:
        return Backlog()
    heard = Shipped(settings.path(FOLDER)).read() or Place(segments[0])
    left, first = 0, None
    for segment in segments:
        if segment < heard.segment:
            continue
        offset = heard.offset if segment == heard.segment else 0
        try:
            size = trail.path(segment).stat().st_size - offset
        except OSError:  # removed meanwhile
            continue
        left += max(0, size)
        if first is None and size > 0:
            entries = [read_line(line) for line, _ in trail.lines(segment, offset, 4096)]
            first = next((entry for entry in entries if entry is not None), None)
    age = 0.0 if first is None else (datetime.now(UTC) - first.at).total_seconds()
    return Backlog(left, max(0.0, age))
