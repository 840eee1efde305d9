"""How many instances a transfer holds, and when what waits is cut. No SQL; docs/design/completion.md has the reasons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

_FEWEST, _MOST_OF_THE_LEAST, _SHARED = 10, 50, 100
LEAST_BYTES: Final = 64_000_000
# Transfers that are open for each association of a destination: one that runs, and one that is ready when it ends.
_OPEN_FOR_EACH: Final = 2


class Sized(Protocol):
    """Anything that has a size in bytes."""

    @property
    def bytes(self) -> int: ...


_T = TypeVar("_T", bound=Sized)


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that one transfer holds: instances, and bytes unless it is one instance."""

    instances: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Room:
    """What a destination stands, and what it has before it.

    Attributes
    ----------
    associations : int
        At once, 1 or more.
    open_transfers : int
        Ready, running or waiting.
    """

    associations: int
    open_transfers: int

    @property
    def wants_more(self) -> bool:
        """Whether it would soon have nothing to do."""
        return self.open_transfers < _OPEN_FOR_EACH * self.associations


def least(associations: int) -> int:
    """The fewest instances that are worth an association, where there are so many: 10 to 50."""
    return max(_FEWEST, min(_MOST_OF_THE_LEAST, _SHARED // associations))


def is_to_be_cut(instances: int, total_bytes: int, room: Room, limits: Limits) -> bool:
    """Whether what waits of a study that still arrives is worth a transfer now."""
    if instances >= limits.instances or total_bytes >= limits.bytes:
        return True
    return room.wants_more and (instances >= least(room.associations) or total_bytes >= LEAST_BYTES)


def share(instances: int, total_bytes: int, room: Room, limits: Limits) -> Limits:
    """The size of one transfer when so much is shared out over the associations of a destination."""
    even = -(-instances // room.associations)
    even_bytes = -(-total_bytes // room.associations)
    return Limits(
        min(limits.instances, max(least(room.associations), even)),
        min(limits.bytes, max(LEAST_BYTES, even_bytes)),
    )


def pack(rows: Sequence[_T], limits: Limits) -> Iterator[list[_T]]:
    """Batches in order; one instance that is larger than the limit goes by itself."""
    batch: list[_T] = []
    size = 0
    for row in rows:
        if batch and (len(batch) >= limits.instances or size + row.bytes > limits.bytes):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += row.bytes
    if batch:
        yield batch


def parts(rows: Sequence[_T], room: Room, limits: Limits, *, complete: bool) -> list[list[_T]]:
    """The transfers to make of what waits for one destination; none when it is better left to grow.

    What is left over at the end of a study that still arrives, less than a share, waits too.
    """
    total_bytes = sum(row.bytes for row in rows)
    if not complete and not is_to_be_cut(len(rows), total_bytes, room, limits):
        return []
    size = share(len(rows), total_bytes, room, limits)
    batches = list(pack(rows, size))
    if not complete and batches and not _is_full(batches[-1], size):
        batches.pop()
    return batches


def _is_full(batch: Sequence[Sized], size: Limits) -> bool:
    return len(batch) >= size.instances or sum(row.bytes for row in batch) >= min(size.bytes, LEAST_BYTES)
