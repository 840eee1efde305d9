"""Which frame of which instance a position of a request is."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from typing import Any

from archive.index.listing import ListedInstance


@dataclass(frozen=True, slots=True)
class Place:
    """One frame: its row, its instance and its number, from 1."""

    row: int
    instance: ListedInstance
    frame_number: int


class Positions:
    """The frames of a request, counted through.

    Parameters
    ----------
    instances : sequence of ListedInstance
        In order: the rows.
    first_frame, last_frame : int
        Only these frames of each instance; a `last_frame` of 0 means all.
    """

    def __init__(
        self, instances: Sequence[ListedInstance], *, first_frame: int = 1, last_frame: int = 0
    ) -> None:
        self._instances = instances
        self.first_frame = first_frame
        counts = (
            max(0, (min(each.frames, last_frame) if last_frame else each.frames) - first_frame + 1)
            for each in instances
        )
        self._starts = [0, *accumulate(counts)]

    def __len__(self) -> int:
        return self._starts[-1]

    def place(self, position: int) -> Place:
        """Where a position is."""
        row = bisect_right(self._starts, position) - 1
        return Place(row, self._instances[row], self.first_frame + position - self._starts[row])

    def position(self, sop_instance_uid: str, frame_number: int) -> int | None:
        """The position of a frame; None when it is not among them."""
        for row, each in enumerate(self._instances):
            if each.sop_instance_uid == sop_instance_uid:
                position = self._starts[row] + frame_number - self.first_frame
                return position if self._starts[row] <= position < self._starts[row + 1] else None
        return None

    def end_of(self, row: int) -> int:
        """The position behind the last frame of a row."""
        return self._starts[row + 1]

    def table(self) -> list[dict[str, Any]]:
        """The rows as words: per series the instances, each with how many frames of it there are."""
        rows = [
            (each.series_instance_uid, [each.sop_instance_uid, self._starts[row + 1] - self._starts[row]])
            for row, each in enumerate(self._instances)
        ]
        return [
            {"uid": uid, "instances": [pair for _, pair in group]}
            for uid, group in groupby(rows, key=lambda each: each[0])
        ]
