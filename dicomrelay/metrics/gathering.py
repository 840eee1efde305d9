"""Reads the cells of a home and adds up what belongs together; takes over what the dead have counted."""

from __future__ import annotations

import fcntl
import json
import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, Final

from dicomrelay.metrics import catalogue, cells
from dicomrelay.metrics.cells import DamagedCells, Key
from dicomrelay.metrics.families import Family, Kind, Merge

_RETIRED: Final = "retired.json"
_LOCK: Final = "lock"
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")

Samples = dict[Key, list[float]]

# `increase()` does not see the step from no series to 1: what a rule waits for is there from the beginning, at 0. Counters whose
# labels are closed lists, and short.
_MOST_KNOWN: Final = 16
_KNOWN_BEFORE: Final[tuple[Key, ...]] = tuple(
    (family.name, *labels)
    for family in catalogue.FAMILIES.values()
    if family.kind is Kind.COUNTER
    and set(family.labels) <= set(family.values)
    and math.prod(len(family.values[label]) for label in family.labels) <= _MOST_KNOWN
    for labels in product(*(family.values[label] for label in family.labels))
)


@dataclass(slots=True)
class Gathered:
    """The series of a home, by family name and label values; of a histogram as `Family.width` says."""

    samples: Samples = field(default_factory=dict)

    def of(self, family: Family) -> dict[tuple[str, ...], list[float]]:
        """Those of one family, by their labels."""
        return self.by_family().get(family.name, {})

    def by_family(self) -> dict[str, dict[tuple[str, ...], list[float]]]:
        """All, by the family's name and their labels, in order."""
        found: dict[str, dict[tuple[str, ...], list[float]]] = {}
        for key, figures in sorted(self.samples.items()):
            found.setdefault(key[0], {})[key[1:]] = figures
        return found

    def take(self, key: Key, figures: Sequence[float]) -> None:
        """Add a series of a process. One of no known family, or of another form, is of an older version and left out."""
        family = catalogue.FAMILIES.get(key[0])
        if family is None or len(figures) != family.width or len(key) - 1 != len(family.labels):
            return
        if math.isnan(figures[0]):
            return
        have = self.samples.get(key)
        if have is None:
            self.samples[key] = list(figures)
        elif family.kind is Kind.GAUGE and family.merge is Merge.MAX:
            have[0] = max(have[0], figures[0])
        else:
            self.samples[key] = [mine + more for mine, more in zip(have, figures, strict=True)]


def gather(folder: Path) -> Gathered:
    """Everything that the processes of a home show, and those that are gone have counted.

    Parameters
    ----------
    folder : Path
        `run/metrics` of a home; what is not there is empty.
    """
    if not folder.is_dir():
        return Gathered()
    with _alone(folder):
        retired = _Retired.of(folder)
        found, dead = Gathered(), []
        processes: Counter[str] = Counter()
        for path in sorted(folder.glob(f"*{cells.SUFFIX}")):
            if path.name in retired.names:
                path.unlink(missing_ok=True)
            elif cells.is_of_the_dead(path):
                dead.append(path)
            else:
                processes[path.name.partition(".")[0]] += 1
                _take(found, path)
                _measure(found, path)
        if dead:
            retired.bury(folder, dead)
        for key, figures in retired.gathered.samples.items():
            found.take(key, figures)
    for service, count in processes.items():
        found.take((catalogue.PROCESSES.name, service), [count])
    if processes:
        for key in _KNOWN_BEFORE:
            found.samples.setdefault(key, [0.0])
    return found


def forget(folder: Path) -> None:
    """Begin anew: what the dead of a home have counted, where nothing of it runs."""
    if not folder.is_dir():
        return
    with _alone(folder):
        for path in folder.glob(f"*{cells.SUFFIX}"):
            if cells.is_of_the_dead(path):
                path.unlink(missing_ok=True)
        (folder / _RETIRED).unlink(missing_ok=True)


@dataclass(slots=True)
class _Retired:
    """What the dead have counted, and the files that are in it."""

    gathered: Gathered = field(default_factory=Gathered)
    names: frozenset[str] = frozenset()

    @classmethod
    def of(cls, folder: Path) -> _Retired:
        """As it was kept. A file that cannot be read is as none: counters begin anew."""
        kept = cls()
        with suppress(OSError, ValueError, TypeError, KeyError):
            said: Mapping[str, Any] = json.loads((folder / _RETIRED).read_text("utf-8"))
            for key, figures in said["series"]:
                kept.gathered.take(tuple(key), [float(each) for each in figures])
            kept.names = frozenset(said["files"])
        return kept

    def bury(self, folder: Path, dead: Sequence[Path]) -> None:
        """Take over counters and histograms; first that is durable against a kill, then the files go."""
        for path in dead:
            mine = Gathered()
            _take(mine, path)
            for key, figures in mine.samples.items():
                if catalogue.FAMILIES[key[0]].kind is not Kind.GAUGE:
                    self.gathered.take(key, figures)
        self.names = frozenset(path.name for path in dead)
        fresh = folder / f"{_RETIRED}.{os.getpid()}"
        said = {"series": list(self.gathered.samples.items()), "files": sorted(self.names)}
        try:
            fresh.write_text(json.dumps(said), "utf-8")
            fresh.chmod(0o600)
            fresh.replace(folder / _RETIRED)
        except OSError:  # a full disk: they are counted as they lie, and buried by the next
            fresh.unlink(missing_ok=True)
            return
        for path in dead:
            path.unlink(missing_ok=True)


def _take(found: Gathered, path: Path) -> None:
    try:
        for key, figures in cells.read(path):
            found.take(key, figures)
    except FileNotFoundError:
        return
    except (OSError, DamagedCells):
        found.take((catalogue.DAMAGED_FILES.name,), [1])


def _measure(found: Gathered, path: Path) -> None:
    """The memory of a living process, where the kernel says it and means the same processes as we do."""
    service, _, rest = path.name.partition(".")
    with suppress(OSError, ValueError, IndexError):
        pages = Path("/proc", rest.partition(".")[0], "statm").read_text("ascii").split()[1]
        found.take((catalogue.RESIDENT.name, service), [int(pages) * _PAGE])


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One gathers at a time."""
    fd = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
