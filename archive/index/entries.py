"""What goes into the index, and what it says of what it holds."""

from __future__ import annotations

from dataclasses import dataclass

from archive.attributes import ATTRIBUTES, InstanceAttributes, Level, Value
from archive.values import StoredInstance, StoreRequest


@dataclass(frozen=True, slots=True)
class Known:
    """What the index holds under a SOP Instance UID; `is_damaged`: the scrub found its file damaged."""

    digest: str
    relative_path: str
    file_bytes: int
    is_damaged: bool = False


@dataclass(frozen=True, slots=True)
class FileSize:
    """The size of a stored file that was put back, and where its data set begins, in bytes."""

    file_bytes: int
    data_set_offset: int


@dataclass(frozen=True, slots=True)
class NewInstance:
    """A stored file that the index is to know."""

    request: StoreRequest
    attributes: InstanceAttributes
    relative_path: str
    file_bytes: int
    # SHA-256 of what is in front of the data set; "" where nobody has read it yet.
    head_digest: str = ""

    def stored(self) -> StoredInstance:
        """The same as a value of the index."""
        request = self.request
        return StoredInstance(
            study_instance_uid=request.study_instance_uid,
            series_instance_uid=request.series_instance_uid,
            sop_instance_uid=request.sop_instance_uid,
            sop_class_uid=request.sop_class_uid,
            transfer_syntax_uid=request.transfer_syntax_uid,
            relative_path=self.relative_path,
            file_bytes=self.file_bytes,
            data_set_offset=self.file_bytes - request.data_set_bytes,
            data_set_bytes=request.data_set_bytes,
            digest=request.digest,
        )

    @property
    def series_key(self) -> tuple[str, str]:
        """Study and Series Instance UID: what a series is known by."""
        return self.request.study_instance_uid, self.request.series_instance_uid

    def level_values(self, level: Level) -> dict[str, Value]:
        """What it says of its study or series, by column; without their UIDs."""
        values = {column: self.attributes.values.get(column) for column in LEVEL_COLUMNS[level]}
        if level is Level.SERIES:
            values["modality"] = values["modality"] or self.request.modality or None
        return values

    def row(self) -> dict[str, Value]:
        """Its row, but for the key of its series and the time."""
        stored = self.stored()
        return {
            **{column: self.attributes.values.get(column) for column in _INSTANCE_COLUMNS},
            "sop_instance_uid": stored.sop_instance_uid,
            "sop_class_uid": stored.sop_class_uid,
            "transfer_syntax_uid": stored.transfer_syntax_uid,
            "relative_path": stored.relative_path,
            "file_bytes": stored.file_bytes,
            "data_set_offset": stored.data_set_offset,
            "data_set_bytes": stored.data_set_bytes,
            "digest": stored.digest,
            "head_digest": self.head_digest or None,
        }


# What instances say of their study and series.
LEVEL_COLUMNS = {
    level: tuple(
        each.column for each in ATTRIBUTES if each.level is level and not each.keyword.endswith("InstanceUID")
    )
    for level in (Level.STUDY, Level.SERIES)
}
_INSTANCE_COLUMNS = tuple(each.column for each in ATTRIBUTES if each.level is Level.INSTANCE)
