"""What goes into an archive and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path


@dataclass(frozen=True, slots=True)
class StoreRequest:
    """One instance to store.

    Attributes
    ----------
    source : Path
        The file that holds the data set, from `data_set_offset` to its end.
    data_set_offset, data_set_bytes : int
        Where the data set lies in the source, in bytes. Offset 0: the source has no file meta, one is written.
    digest : str
        SHA-256 of the data set's bytes, in hexadecimal.
    study_instance_uid, series_instance_uid : str
        Where it is filed; derived ones when the data set has none.
    may_link : bool
        The source is durable and will never be changed in place: a hard link may stand for a copy.
    """

    source: Path
    data_set_offset: int
    data_set_bytes: int
    digest: str
    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    modality: str = ""
    may_link: bool = False


class StoreOutcome(Enum):
    """What became of an instance."""

    STORED = "stored"
    ALREADY_THERE = "already there"  # the same SOP Instance UID and the same bytes
    CONFLICT = "conflict"  # the same SOP Instance UID, other bytes: nothing was written
    FAILED = "failed"  # nothing was written; `reason` says why, another try may do


@dataclass(frozen=True, slots=True)
class StoreResult:
    """The answer to one request; `relative_path` is set when the archive holds the instance."""

    sop_instance_uid: str
    outcome: StoreOutcome
    relative_path: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class StoredInstance:
    """An instance as the index knows it."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    relative_path: str
    file_bytes: int
    data_set_offset: int
    data_set_bytes: int
    digest: str


@dataclass(frozen=True, slots=True)
class FrameSummary:
    """What a frame index says: how many frames can be served, and why not all or none."""

    count: int
    reason: str = ""
