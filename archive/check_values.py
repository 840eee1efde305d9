"""How closely an archive is checked, and what is found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class CheckLevel(StrEnum):
    """How closely; each costs more than the one before."""

    INDEX = "index"  # what the index itself knows to be damaged, and its counters: reads every row
    SIZES = "sizes"  # every file is there, in the size that the index says
    ORPHANS = "orphans"  # every file has a row
    DIGESTS = "digests"  # every byte is what was archived
    DICOM = "dicom"  # every data set can be read, and is what the index says


class Fault(StrEnum):
    """What is wrong."""

    MISSING = "missing"
    SIZE = "size"
    DIGEST = "digest"
    UNREADABLE = "unreadable"
    NOT_DICOM = "not-dicom"
    DISAGREES = "disagrees"  # its data set names other UIDs than the index
    COUNTERS = "counters"
    ORPHAN = "orphan"
    LEFTOVER = "leftover"
    ASIDE = "set-aside"  # other bytes that were kept are gone or damaged


NOTES: Final = frozenset({Fault.ORPHAN, Fault.LEFTOVER})


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be.

    Attributes
    ----------
    about : str
        The SOP Instance UID, or the last part of a file's name: never a path, which has the patient's id in it.
    words : str
        What is wrong.
    key : str
        The relative path. Not to be shown in a log.
    """

    fault: Fault
    about: str
    words: str
    study_instance_uid: str = ""
    key: str = ""

    @property
    def is_fault(self) -> bool:
        """Whether an image is concerned, and not only room."""
        return self.fault not in NOTES
