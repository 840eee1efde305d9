"""What a check finds, and what it is told as it goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TypeAlias

from dicomrelay.spool import SpoolRecord
from workers.integrity.invariants import WORDS, Invariant


class Severity(StrEnum):
    """How bad it is."""

    FAULT = "fault"  # lost, damaged, or stuck
    NOTE = "note"  # costs room, or is to be known


@dataclass(frozen=True, slots=True)
class Finding:
    """A place where an invariant does not hold.

    Attributes
    ----------
    about : str
        Which item, instance, study or file: ids, UIDs and names of ours, never a path in the archive.
    words : str
        What is wrong there.
    spool_id, instance_id, sop_instance_uid, study_instance_uid, transfer_id : str
        What repair goes by; "" where there is none.
    path : Path, optional
        The file. Not to be shown: in the archive it holds the patient id.
    """

    invariant: Invariant
    about: str
    words: str
    severity: Severity = Severity.FAULT
    spool_id: str = ""
    instance_id: str = ""
    sop_instance_uid: str = ""
    study_instance_uid: str = ""
    transfer_id: str = ""
    path: Path | None = field(default=None, repr=False)
    record: SpoolRecord | None = field(default=None, repr=False)

    @property
    def do(self) -> str:
        """What to do about it."""
        return WORDS[self.invariant][1]


# How far a part of the check is: what is looked at, how many are done, of how many (0 where that is not known), bytes read.
Tick: TypeAlias = Callable[[str, int, int, int], None]


def silent(_what: str, _done: int, _total: int, _bytes: int) -> None:
    """Nobody wants to know how far it is."""
