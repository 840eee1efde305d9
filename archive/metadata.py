"""The attributes of a stored instance as DICOM JSON, without bulk data (PS3.18 Annex F)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from pydicom.dataelem import DataElement, RawDataElement

from archive.attributes import UNREADABLE
from archive.tag_reading import reading_tags
from archive.values import StoredInstance
from dicomrelay.errors import ArchiveError

_BULK_BYTES: Final = 1024
_DEFERRED_BYTES: Final = 65_536
_FIRST_PIXEL_TAG: Final = 0x7FE00001
_INFLATED_BYTES: Final = 64 * 1024 * 1024


def instance_metadata(path: Path, stored: StoredInstance) -> dict[str, Any]:
    """The data set of a stored file as a DICOM JSON object. Values over 1 KiB of binary VRs are left out.

    Raises
    ------
    ArchiveError
        The data set cannot be read.
    """
    try:
        with reading_tags(
            path,
            stored.data_set_offset,
            stored.transfer_syntax_uid,
            end=_FIRST_PIXEL_TAG,
            defer_bytes=_DEFERRED_BYTES,
            inflated_bytes=_INFLATED_BYTES,
        ) as data_set:
            for tag in [*data_set.keys()]:
                element: Any = data_set.get_item(tag)
                # pydicom has skipped the value, so it is longer than anything that is wanted here.
                if isinstance(element, RawDataElement) and element.value is None and element.length:
                    del data_set[tag]
            found: dict[str, Any] = data_set.to_json_dict(
                bulk_data_threshold=_BULK_BYTES,
                bulk_data_element_handler=_left_out,
                suppress_invalid_tags=True,
            )
    except UNREADABLE as error:
        raise ArchiveError(
            f"the attributes of {stored.sop_instance_uid} cannot be read ({type(error).__name__})"
        ) from error
    _prune(found)
    # JSON is UTF-8, whatever the stored data set is in.
    found["00080005"] = {"vr": "CS", "Value": ["ISO_IR 192"]}
    # How it is filed, where the data set itself says nothing.
    for key, uid in _filed_under(stored):
        if uid and not found.get(key, {}).get("Value"):
            found[key] = {"vr": "UI", "Value": [uid]}
    found["00083002"] = {"vr": "UI", "Value": [stored.transfer_syntax_uid]}
    return found


def bare_metadata(stored: StoredInstance) -> dict[str, Any]:
    """What the index knows, of a data set that cannot be read."""
    return {tag: {"vr": "UI", "Value": [uid]} for tag, uid in _filed_under(stored) if uid}


def _filed_under(stored: StoredInstance) -> tuple[tuple[str, str], ...]:
    return (
        ("00080016", stored.sop_class_uid),
        ("00080018", stored.sop_instance_uid),
        ("0020000D", stored.study_instance_uid),
        ("0020000E", stored.series_instance_uid),
    )


def _left_out(_element: DataElement) -> str:
    return ""


def _prune(json_object: dict[str, Any]) -> None:
    for tag in [*json_object]:
        entry = json_object[tag]
        if "BulkDataURI" in entry:
            del json_object[tag]
        elif entry.get("vr") == "SQ":
            for item in entry.get("Value", ()):
                _prune(item)
