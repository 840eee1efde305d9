"""Where the scrub is, how fast it may go, and what a batch of it came to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

from archive.index.health import Damage, HealthIndex

NOTE: Final = "scrub"
DAY_MS: Final = 86_400_000
# Nobody waits weeks for a small archive's first round because its rate is a few bytes a second.
SLOWEST_BYTES_PER_S: Final = 100_000


@dataclass(frozen=True, slots=True)
class Position:
    """How far the scrub is; one row of `archive_meta`, as JSON.

    Attributes
    ----------
    round : int
        Which round it is, from 1.
    after, aside : int
        The keys of the last rows that were looked at in it: of the instances, and then of what was set aside.
    began_ms, ended_ms : int
        When the round began and when it ended, in milliseconds since the epoch; 0 while it has not.
    files, bytes, damaged : int
        What was looked at in this round, read, and found damaged.
    owner, until_ms : str, int
        Who is at it, and until when nobody else begins.
    """

    round: int = 1
    after: int = 0
    began_ms: int = 0
    ended_ms: int = 0
    files: int = 0
    bytes: int = 0
    damaged: int = 0
    owner: str = ""
    until_ms: int = 0
    aside: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """Damage that was not known before; of what was set aside, each round. `study_instance_uid` is "" then."""

    sop_instance_uid: str
    study_instance_uid: str
    damage: Damage
    words: str


@dataclass(frozen=True, slots=True)
class Step:
    """What one batch came to.

    Attributes
    ----------
    found, mended : sequence
        New damage; UIDs of instances whose damage is gone.
    wait_s : float
        For how long there is nothing to do: the round is over, or another process is at it.
    is_over : bool
        This batch was the last one of its round.
    """

    position: Position
    found: Sequence[Found] = ()
    mended: Sequence[str] = ()
    wait_s: float = 0.0
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class Rate:
    """How fast: a round in so many days, and never more bytes a second than that."""

    round_days: float
    bytes_per_s: int | None = None

    def of(self, total_bytes: int) -> float:
        """Bytes a second for an archive of that size."""
        spread = max(SLOWEST_BYTES_PER_S, total_bytes / (self.round_days * DAY_MS / 1000))
        return spread if self.bytes_per_s is None else min(spread, self.bytes_per_s)


def read_position(note: str | None) -> Position:
    """The position that a note tells; the beginning, when there is none or it is of a version that we do not know."""
    try:
        return Position(**json.loads(note)) if note else Position()
    except (ValueError, TypeError):
        return Position()


def position_of(index: HealthIndex) -> Position:
    """How far the scrub is. Raises ServiceUnavailable."""
    return read_position(index.note(NOTE))


def note_of(position: Position) -> str:
    """The note that tells a position."""
    return json.dumps(asdict(position), sort_keys=True)
