"""What a run was asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.contest import Pair, present
from benchmarks.data_sets import LOADS, DataSets
from benchmarks.figures import Bar, Place, Row, ratio_bar

# A quick run is for finding what is broken: one disturbance among its few instances is most of what it measures, and on a busy
# machine has made a twentieth of a rate.
QUICK_EASE = 0.02


@dataclass(frozen=True, slots=True)
class Run:
    """The options of a run.

    Attributes
    ----------
    disk, memory : Path or None
        A folder of the run's own in each place; without `memory` nothing is measured there.
    rounds, warm_up : int
        Rounds that count, and rounds before them that do not.
    scale : float
        Part of the instances, 0 to 1.
    window : int
        Operations that our sender asks to have outstanding, in the rows that have a window.
    ease : float
        What bars are multiplied by: 1, or less in a quick run.
    """

    disk: Path
    memory: Path | None = None
    loads: Sequence[str] = tuple(LOADS)
    rounds: int = 5
    warm_up: int = 1
    scale: float = 1.0
    window: int = 8
    ease: float = 1.0
    only_ours: bool = False
    huge_bytes: int = 8_000_000_000
    headers: int = 100_000
    open_associations: int = 200
    backlog: int = 100_000
    archive: int = 1_000_000

    @property
    def is_eased(self) -> bool:
        """Whether it only looks for what is broken."""
        return self.ease < 1

    def load(self, name: str, *, instances: int = 0) -> DataSets:
        """A load, made smaller; of so many instances where that is said."""
        load = replace(LOADS[name], instances=instances) if instances else LOADS[name]
        return load.scaled(self.scale)

    def among(self, *names: str) -> list[str]:
        """Those of some loads that were asked for."""
        return [name for name in names if name in self.loads]

    def places(self) -> list[tuple[Place, Path]]:
        """Where files are put."""
        disk = [(Place.DISK, self.disk)]
        return disk if self.memory is None else [*disk, (Place.MEMORY, self.memory)]

    def present(self, pairs: Iterable[Pair]) -> list[Pair]:
        """The pairs that take part."""
        return present(pairs, only_ours=self.only_ours)

    def faster(
        self, rows: Sequence[Row], asked: str, names: Iterable[str], against: str, at_least: float
    ) -> tuple[Bar, ...]:
        """A bar on how many times as fast as another row a row is; the names after the first have a window."""
        return ratio_bar(rows, asked, names, against, at_least * self.ease)
