"""What goes into an archive and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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


class Policy(Enum):
    """What becomes of other bytes under a SOP Instance UID that the archive holds."""

    KEEP_FIRST = "keep_first"  # they are set aside
    REPLACE = "replace"  # what is held is set aside, they take its place
    REFUSE = "refuse"  # they are not taken

    @classmethod
    def named(cls, word: str | None) -> Policy | None:
        """The one that a setting names; None when it leaves that to the archive."""
        return None if word is None else cls(word)


class StoreOutcome(Enum):
    """What became of an instance."""

    STORED = "stored"
    ALREADY_THERE = "already there"  # the same SOP Instance UID and the same bytes
    REPLACED = "replaced"  # the same SOP Instance UID, other bytes: what was held is set aside
    CONFLICT = "conflict"  # the same SOP Instance UID, other bytes: set aside or refused, `reason` says which
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


@dataclass(frozen=True, slots=True)
class Conflict:
    """Other bytes that came, or were held, under a SOP Instance UID.

    Attributes
    ----------
    digest : str
        Of the bytes that the archive does not serve; `kept_digest` of those that it does.
    relative_path : str
        Where they were set aside, under `conflicts/`; "" when they were refused, or gone.
    found_ms : int
        When, in milliseconds since the epoch.
    """

    sop_instance_uid: str
    digest: str
    kept_digest: str
    relative_path: str
    file_bytes: int
    found_ms: int
    reason: str


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What is known of an instance that was removed, at `removed_ms` milliseconds since the epoch."""

    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    digest: str
    file_bytes: int
    removed_ms: int
    reason: str
    removed_by: str


@dataclass(frozen=True, slots=True)
class Selection:
    """Which instances are meant: those of which everything holds that is given. Nothing given means all of them.

    Attributes
    ----------
    patient_id : str
        As it is kept, without wildcards.
    study_uids, series_uids, sop_instance_uids : tuple of str
        One of each; as many as are wanted.
    matches : mapping
        Values to match by keyword, as in a search at the instance level.
    """

    patient_id: str = ""
    study_uids: tuple[str, ...] = ()
    series_uids: tuple[str, ...] = ()
    sop_instance_uids: tuple[str, ...] = ()
    matches: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_everything(self) -> bool:
        """Whether nothing is given."""
        return not (
            self.patient_id
            or self.study_uids
            or self.series_uids
            or self.sop_instance_uids
            or any(self.matches.values())
        )


@dataclass(frozen=True, slots=True)
class Amount:
    """So much of something."""

    studies: int = 0
    series: int = 0
    instances: int = 0
    bytes: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(
            self.studies + other.studies,
            self.series + other.series,
            self.instances + other.instances,
            self.bytes + other.bytes,
        )


@dataclass(frozen=True, slots=True)
class Statistics:
    """What an archive holds.

    Attributes
    ----------
    bytes : int
        Of the stored files.
    by_modality : mapping
        By Modality of the series, "" for none. A study with two modalities counts in both.
    by_year : mapping
        By the year of the Study Date, "" where there is none.
    oldest_study_date, newest_study_date : str
        Study Dates as they are kept (YYYYMMDD); "" when no study has one.
    first_study_ms, last_study_ms : int or None
        When the first and the last study came into the archive, in ms since 1970.
    disagreements, conflicts, removed, damaged : int
        Attributes that instances disagree about; instances that came with other bytes; tombstones; damaged files that
        the scrub found.
    """

    patients: int
    studies: int
    series: int
    instances: int
    bytes: int
    by_modality: Mapping[str, Amount]
    by_year: Mapping[str, Amount]
    oldest_study_date: str
    newest_study_date: str
    first_study_ms: int | None
    last_study_ms: int | None
    disagreements: int
    conflicts: int
    removed: int
    damaged: int


@dataclass(frozen=True, slots=True)
class Disagreement:
    """An attribute of a patient, study or series of which an instance says something else than what is kept.

    Attributes
    ----------
    level : str
        patient, study or series.
    uid : str
        Its Patient ID, or its Study or Series Instance UID.
    column : str
        The attribute, by the name of its column.
    sop_instance_uid : str
        The first instance that said so.
    """

    level: str
    uid: str
    column: str
    kept: str
    other: str
    sop_instance_uid: str
    found_ms: int
