"""Round the archive for ever, at a set rate: every file is read again, so that damage is found while there is another copy.

docs/design/archive-storage.md has the rules. What is told is told by the caller; nothing here logs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

from archive.index.health import Damage, Entry, HealthIndex, Looked
from archive.looking import Look, look_at
from archive.storage import Storage

NOTE: Final = "scrub"
_DAY_MS: Final = 86_400_000
# Nobody waits weeks for a small archive's first round because its rate is a few bytes a second.
SLOWEST_BYTES_PER_S: Final = 100_000
# A batch is written down when it has so many files or bytes, and holds the round for so long without a word.
_FILES: Final = 100
_BYTES: Final = 256 * 1024 * 1024
_LEASE_MS: Final = 15 * 60_000
# How long after damage was seen it is looked at again.
_AGAIN_S: Final = 0.3


@dataclass(frozen=True, slots=True)
class Position:
    """How far the scrub is; one row of `archive_meta`, as JSON.

    Attributes
    ----------
    round : int
        Which round it is, from 1.
    after : int
        The key of the last row that was looked at in it.
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


@dataclass(frozen=True, slots=True)
class Found:
    """Damage that was not known before."""

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
        spread = max(SLOWEST_BYTES_PER_S, total_bytes / (self.round_days * _DAY_MS / 1000))
        return spread if self.bytes_per_s is None else min(spread, self.bytes_per_s)


class _Stopped(Exception):
    """There is to be no more work."""


class Scrub:
    """One process's share of it.

    Parameters
    ----------
    owner : str
        Who we are; no other process has that name.
    pause : callable
        Waits so many seconds; True when there is to be no more work.
    """

    def __init__(
        self, index: HealthIndex, storage: Storage, *, rate: Rate, owner: str, pause: Callable[[float], bool]
    ) -> None:
        self._index = index
        self._storage = storage
        self._rate = rate
        self._owner = owner
        self._pause = pause
        self._is_stopped = False
        self._bytes_per_s = 1.0

    def step(self) -> Step:
        """Look at the next batch and write down what was found, and where we are.

        Raises
        ------
        ServiceUnavailable
            Index or storage do not answer; the position is that of the last batch.
        """
        note = self._index.note(NOTE)
        now = self._index.now_ms()
        position = read_position(note)
        if position.owner != self._owner and position.until_ms > now:
            return Step(position, wait_s=(position.until_ms - now) / 1000)
        if position.ended_ms:
            due = position.began_ms + round(self._rate.round_days * _DAY_MS)
            if due > now:
                return Step(position, wait_s=(due - now) / 1000)
            position = Position(round=position.round + 1, began_ms=now)
        elif not position.began_ms:
            position = replace(position, began_ms=now)
        # Taken before the work, so that two do not do the same.
        taken = replace(position, owner=self._owner, until_ms=now + _LEASE_MS)
        if not self._index.record((), name=NOTE, before=note, after=_note(taken)):
            return Step(position, wait_s=1.0)
        self._bytes_per_s = self._rate.of(self._index.totals()[1])
        return self._batch(taken)

    def _batch(self, position: Position) -> Step:
        entries = self._index.after(position.after, _FILES)
        looked: list[Looked] = []
        found: list[Found] = []
        mended: list[str] = []
        read = 0
        for entry in entries:
            try:
                look = self._look(entry)
            except _Stopped:
                break
            if look is not None:
                looked.append(Looked(entry.key, entry.stored, look.damage, look.head_digest))
                read += look.read_bytes
                if look.damage is None and entry.damage is not None:
                    mended.append(entry.stored.sop_instance_uid)
                elif look.damage is not None and entry.damage != look.damage:
                    of = entry.stored
                    found.append(Found(of.sop_instance_uid, of.study_instance_uid, look.damage, look.words))
            position = replace(
                position,
                after=entry.key,
                files=position.files + 1,
                bytes=position.bytes + (look.read_bytes if look else 0),
                damaged=position.damaged + bool(look and look.damage),
            )
            if read >= _BYTES:
                break
        is_over = not self._is_stopped and not entries
        return self._written(position, looked, Step(position, found, mended, is_over=is_over))

    def _written(self, position: Position, looked: Sequence[Looked], step: Step) -> Step:
        before = self._index.note(NOTE)
        now = self._index.now_ms()
        held = read_position(before)
        if held.owner != self._owner:
            return Step(held, wait_s=1.0)  # we took too long: another is at it, and looks at these again
        after = replace(
            position,
            ended_ms=now if step.is_over else 0,
            # Whoever stops lets go of it.
            until_ms=0 if step.is_over or self._is_stopped else now + _LEASE_MS,
        )
        if not self._index.record(looked, name=NOTE, before=before, after=_note(after)):
            return Step(held, wait_s=1.0)
        return replace(step, position=after)

    def _look(self, entry: Entry) -> Look | None:
        """What is wrong with a file; None when its row has changed while it was looked at."""
        look = look_at(self._storage, entry.stored, entry.head_digest, pace=self._pace)
        if look.damage is None:
            return look
        # It may be about to be put back or replaced; and what is told shall have been seen twice.
        self._wait(_AGAIN_S)
        now = self._index.after(entry.key - 1, 1)
        if not now or now[0].stored != entry.stored:
            return None
        again = look_at(self._storage, entry.stored, entry.head_digest, pace=self._pace)
        return replace(again, read_bytes=look.read_bytes + again.read_bytes)

    def _pace(self, count: int) -> None:
        self._wait(count / self._bytes_per_s)

    def _wait(self, seconds: float) -> None:
        if self._pause(seconds):
            self._is_stopped = True
            raise _Stopped


def read_position(note: str | None) -> Position:
    """The position that a note tells; the beginning, when there is none or it is of a version that we do not know."""
    try:
        return Position(**json.loads(note)) if note else Position()
    except (ValueError, TypeError):
        return Position()


def position_of(index: HealthIndex) -> Position:
    """How far the scrub is. Raises ServiceUnavailable."""
    return read_position(index.note(NOTE))


def _note(position: Position) -> str:
    return json.dumps(asdict(position), sort_keys=True)
