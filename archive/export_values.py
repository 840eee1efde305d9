"""What an export says of each instance, and in all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final

from dicomrelay.errors import ArchiveError

PROBLEMS_KEPT: Final = 1000


class ExportOutcome(Enum):
    """What became of an instance."""

    EXPORTED = "exported"
    ALREADY_THERE = "already there"  # the target has the same data set under that name
    EXISTS = "exists"  # the target has other bytes under that name; they were left alone
    DAMAGED = "damaged"  # the stored file is not what the index says; nothing was written
    MISSING = "missing"  # there is no stored file
    FAILED = "failed"  # the stored file cannot be read, or its name in the target not be used

    @property
    def is_there(self) -> bool:
        """Whether the target has the instance now."""
        return self in {ExportOutcome.EXPORTED, ExportOutcome.ALREADY_THERE}


class NotExportable(ArchiveError):
    """One instance that does not leave; `outcome` says why, and the others go on."""

    def __init__(self, message: str, *, outcome: ExportOutcome) -> None:
        super().__init__(message)
        self.outcome = outcome


@dataclass(frozen=True, slots=True)
class ExportedInstance:
    """What became of one instance.

    Attributes
    ----------
    name : str
        Its path in the target, with slashes. In a hierarchy it holds the patient id: for the terminal, not for a log.
    file_bytes : int
        As the index says.
    reason : str
        Why it is not in the target; empty when it is.
    """

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    outcome: ExportOutcome
    name: str
    file_bytes: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ExportProgress:
    """How far an export is, after each instance; bytes are those of stored files, as the index says."""

    done: int
    total: int
    done_bytes: int
    total_bytes: int
    instance: ExportedInstance


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What became of all of it.

    Attributes
    ----------
    target : Path
        The folder or ZIP file.
    selected : int
        Instances of the selection; 0: there was nothing to export, and no target was made.
    counts : mapping
        How many instances had each outcome.
    exported_bytes : int
        Bytes of the stored files that were exported.
    problems : tuple of ExportedInstance
        The first 1000 that are not in the target; `on_progress` is told all.
    has_dicomdir : bool
        Whether a DICOMDIR was written.
    made_up : int
        Values that records of the DICOMDIR must have and data sets had not.
    """

    target: Path
    selected: int
    counts: Mapping[ExportOutcome, int]
    exported_bytes: int
    problems: tuple[ExportedInstance, ...] = ()
    has_dicomdir: bool = False
    made_up: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether the target has every instance of the selection."""
        return sum(number for outcome, number in self.counts.items() if outcome.is_there) == self.selected


@dataclass(slots=True)
class Tally:
    """Counts on the way."""

    counts: Counter[ExportOutcome] = field(default_factory=Counter)
    done_bytes: int = 0
    exported_bytes: int = 0
    problems: list[ExportedInstance] = field(default_factory=list)

    def add(self, instance: ExportedInstance) -> None:
        """Count one."""
        self.counts[instance.outcome] += 1
        self.done_bytes += instance.file_bytes
        if instance.outcome is ExportOutcome.EXPORTED:
            self.exported_bytes += instance.file_bytes
        elif not instance.outcome.is_there and len(self.problems) < PROBLEMS_KEPT:
            self.problems.append(instance)

    @property
    def done(self) -> int:
        """Instances that have an outcome."""
        return self.counts.total()


def taken_away(name: str, error: OSError) -> ArchiveError:
    """A file of a file-set that cannot be read any more; its name is one of PS3.10 Section 8 there, and of no patient."""
    why = error.strerror or type(error).__name__
    return ArchiveError(
        f"{name} was written and cannot be read any more ({why}): does somebody else use the target? Export again"
    )
