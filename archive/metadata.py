"""The attributes of a stored instance as DICOM JSON; bulk data is left where it is (PS3.18 Annex F)."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset

from archive.attributes import UNREADABLE
from archive.bulk_data import as_read, pixel_value, plain_data_set, read_before_pixels, vr_of
from archive.values import StoredInstance
from dicomrelay.dicom.transfer_syntaxes import transfer_syntax
from dicomrelay.errors import ArchiveError

_BULK_BYTES: Final = 1024
# PS3.18 Section F.2.2: of these VRs a value may be told by its address.
_BULK_VRS: Final = frozenset(
    {"DS", "FL", "FD", "IS", "LT", "OB", "OD", "OF", "OL", "OV", "OW", "SL", "SS", "ST", "SV", "UC", "UL", "UN", "US", "UT",
     "UV"}
)  # fmt: skip


def instance_metadata(path: Path, stored: StoredInstance, *, bulk_url: str = "") -> dict[str, Any]:
    """The data set of a stored file as a DICOM JSON object.

    Parameters
    ----------
    bulk_url : str
        Below which large values have their address: binary ones over 1 KiB, all over 64 KiB, pixel data. "": they are left out.

    Raises
    ------
    ArchiveError
        The data set cannot be read.
    """
    syntax = transfer_syntax(stored.transfer_syntax_uid)
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            source = plain_data_set(file, stored, syntax)
            data_set = read_before_pixels(source, syntax)
            large: dict[str, str] = {}
            for tag, element in as_read(data_set):
                # pydicom has skipped the value, so it is longer than anything that is wanted here.
                if isinstance(element, RawDataElement) and element.value is None and element.length:
                    large[f"{tag:08X}"] = vr_of(element)
                    del data_set[tag]
            pixels = pixel_value(source, syntax)
            if pixels is not None:
                large[f"{pixels[0]:08X}"] = pixels[1].vr
            found: dict[str, Any] = data_set.to_json_dict(
                bulk_data_threshold=_BULK_BYTES,
                bulk_data_element_handler=_left_out,
                suppress_invalid_tags=True,
            )
    except UNREADABLE as error:
        raise ArchiveError(
            f"the attributes of {stored.sop_instance_uid} cannot be read ({type(error).__name__})"
        ) from error
    found.update({key: {"vr": vr, "BulkDataURI": ""} for key, vr in large.items()})
    _address(found, bulk_url)
    # JSON is UTF-8, whatever the stored data set is in.
    found["00080005"] = {"vr": "CS", "Value": ["ISO_IR 192"]}
    # How it is filed, where the data set itself says nothing.
    for key, uid in _filed_under(stored):
        if uid and not found.get(key, {}).get("Value"):
            found[key] = {"vr": "UI", "Value": [uid]}
    found["00083002"] = {"vr": "UI", "Value": [stored.transfer_syntax_uid]}
    return dict(sorted(found.items()))


def head_metadata(head: Dataset, tags: Collection[int]) -> dict[str, Any]:
    """Some attributes of what `archive.heads.read_head` has read, as DICOM JSON; binary values over 1 KiB are left out."""
    wanted = Dataset()
    for tag in tags:
        if tag in head:
            wanted[tag] = head[tag]
    try:
        found: dict[str, Any] = wanted.to_json_dict(
            bulk_data_threshold=_BULK_BYTES, bulk_data_element_handler=_left_out, suppress_invalid_tags=True
        )
    except UNREADABLE:
        return {}
    _address(found, "")
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


def _address(json_object: dict[str, Any], url: str) -> None:
    """Say where large values are; leave out those that have no address."""
    for tag in [*json_object]:
        entry = json_object[tag]
        if tag.endswith("0000"):
            del json_object[tag]  # group lengths are about the encoding, and that is another here
        elif "BulkDataURI" in entry:
            if url and entry.get("vr") in _BULK_VRS:
                entry["BulkDataURI"] = f"{url}/{tag}"
            else:
                del json_object[tag]
        elif entry.get("vr") == "SQ":
            for number, item in enumerate(entry.get("Value", ()), start=1):
                _address(item, url and f"{url}/{tag}/{number}")
