"""Round the archive for ever, at a set rate: every file is read again, so that damage is found while there is another copy.

docs/design/archive-storage.md has the rules. What is told is told by the caller; nothing here logs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from archive.index.health import Entry, HealthIndex, Looked
from archive.looking import Look, look_aside, look_at
from archive.scrub_values import (
    DAY_MS,
    NOTE,
    SLOWEST_BYTES_PER_S,
    Found,
    Position,
    Rate,
    Step,
    note_of,
    position_of,
    read_position,
)
from archive.storage import Storage

__all__ = [
    "NOTE",
    "SLOWEST_BYTES_PER_S",
    "Found",
    "Position",
    "Rate",
    "Scrub",
    "Step",
    "position_of",
    "read_position",
]

# A batch is written down when it has so many files or bytes, and holds the round for so long without a word.
_FILES: Final = 100
_BYTES: Final = 256 * 1024 * 1024
_LEASE_MS: Final = 15 * 60_000
# It also ends after so long; within one large file the lease is renewed after so long.
_BATCH_MS: Final = 5 * 60_000
_SLICE_S: Final = 60.0
# How long after damage was seen it is looked at again.
_AGAIN_S: Final = 0.3


class _Stopped(Exception):
    """There is to be no more work."""


class _Lost(Exception):
    """Another one has the round: our lease ran out."""


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
        # What we wrote last: as long as it stands there, the round is ours.
        self._note = ""
        self._renewed_ms = 0

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
            due = position.began_ms + round(self._rate.round_days * DAY_MS)
            if due > now:
                return Step(position, wait_s=(due - now) / 1000)
            position = Position(round=position.round + 1, began_ms=now)
        elif not position.began_ms:
            position = replace(position, began_ms=now)
        # Taken before the work, so that two do not do the same.
        taken = replace(position, owner=self._owner, until_ms=now + _LEASE_MS)
        if not self._index.record((), name=NOTE, before=note, after=note_of(taken)):
            return Step(position, wait_s=1.0)
        self._note, self._renewed_ms = note_of(taken), now
        self._bytes_per_s = self._rate.of(self._index.totals()[1])
        try:
            return self._batch(taken, now)
        except _Lost:
            # Whoever has it now looks at these again.
            return Step(position_of(self._index), wait_s=1.0)

    def _batch(self, position: Position, began_ms: int) -> Step:
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
            if read >= _BYTES or self._renewed_ms - began_ms >= _BATCH_MS:
                break
        if not entries:
            return self._batch_aside(position, began_ms)
        return self._written(position, looked, Step(position, found, mended))

    def _batch_aside(self, position: Position, began_ms: int) -> Step:
        """The end of a round: what was set aside."""
        asides = self._index.asides_after(position.aside, _FILES)
        found: list[Found] = []
        read = 0
        for key, conflict in asides:
            try:
                look = look_aside(self._storage, conflict, pace=self._pace)
            except _Stopped:
                break
            read += look.read_bytes
            if look.damage is not None:
                words = f"what was set aside under it: {look.words}"
                found.append(Found(conflict.sop_instance_uid, "", look.damage, words))
            position = replace(
                position,
                aside=key,
                bytes=position.bytes + look.read_bytes,
                damaged=position.damaged + bool(look.damage),
            )
            if read >= _BYTES or self._renewed_ms - began_ms >= _BATCH_MS:
                break
        is_over = not self._is_stopped and not asides
        return self._written(position, (), Step(position, found, is_over=is_over))

    def _written(self, position: Position, looked: Sequence[Looked], step: Step) -> Step:
        now = self._index.now_ms()
        after = replace(
            position,
            ended_ms=now if step.is_over else 0,
            # Whoever stops lets go of it.
            until_ms=0 if step.is_over or self._is_stopped else now + _LEASE_MS,
        )
        if not self._index.record(looked, name=NOTE, before=self._note, after=note_of(after)):
            raise _Lost
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
        """Wait as long as so many bytes may take, and hold on to the round meanwhile."""
        left = count / self._bytes_per_s
        while left > _SLICE_S:
            self._wait(_SLICE_S)
            self._renew()
            left -= _SLICE_S
        self._wait(left)
        self._renew()

    def _renew(self) -> None:
        now = self._index.now_ms()
        if now - self._renewed_ms < _BATCH_MS:
            return
        after = note_of(replace(read_position(self._note), until_ms=now + _LEASE_MS))
        if not self._index.record((), name=NOTE, before=self._note, after=after):
            raise _Lost
        self._note, self._renewed_ms = after, now

    def _wait(self, seconds: float) -> None:
        if self._pause(seconds):
            self._is_stopped = True
            raise _Stopped
