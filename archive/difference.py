"""One difference between two archives, or between an archive and a peer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from archive.attributes import Level


class DifferenceKind(Enum):
    """What is the matter."""

    ONLY_HERE = "only here"
    ONLY_THERE = "only there"
    DIFFERING = "differing"
    NOT_COMPARED = "not compared"  # the other side could not be read to its end; `reason` says why


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference.

    Attributes
    ----------
    level : Level
        STUDY, SERIES or INSTANCE: what all of is different. UIDs of the levels below are "".
    here, there : str
        Of an instance the digest, or toward a peer its SOP Class UID; "" where it is not.
    here_instances, there_instances : int or None
        Of a study or series, as far as is known.
    reason : str
        In words, when the kind does not say it.
    """

    kind: DifferenceKind
    level: Level
    study_instance_uid: str = ""
    series_instance_uid: str = ""
    sop_instance_uid: str = ""
    here: str = ""
    there: str = ""
    here_instances: int | None = None
    there_instances: int | None = None
    reason: str = ""
