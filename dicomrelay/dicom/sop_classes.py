"""The registry of storage SOP classes (PS3.6 Annex A, PS3.4 Annexes B.5 and GG.3)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

from dicomrelay.dicom.sop_class_categories import SopClassCategory, category_of
from dicomrelay.dicom.uid_dictionary import UID_DICTIONARY

_STORAGE_ROOT: Final = "1.2.840.10008.5.1.4.1.1."
# Under the same root and no objects to store: they query.
_NOT_STORAGE_WORDS: Final = ("Query", "FIND", "MOVE", "GET", "Management", "Creation")
# Stored by C-STORE under other roots: instructions of radiation therapy, and objects without a patient (PS3.4 Annex GG).
_ELSEWHERE: Final = frozenset(
    f"1.2.840.10008.5.1.4.{n}" for n in ("34.1", "34.7", "34.10", "38.1", "39.1", "43.1", "44.1", "45.1")
)
# Newer than pydicom's dictionary.
_NEWER: Final = {
    "1.2.840.10008.5.1.4.1.1.66.7": "Label Map Segmentation Storage",
    "1.2.840.10008.5.1.4.1.1.66.8": "Height Map Segmentation Storage",
    "1.2.840.10008.5.1.4.1.1.9.100.1": "Waveform Presentation State Storage",
    "1.2.840.10008.5.1.4.1.1.9.100.2": "Waveform Acquisition Presentation State Storage",
}


@dataclass(frozen=True, slots=True)
class SopClass:
    """A storage SOP class.

    Attributes
    ----------
    uid, name : str
        As in PS3.6 Table A-1; the UID again for the two retired ones that the table leaves without a name.
    retired : bool
        Whether the standard has retired it; it is accepted and forwarded all the same.
    category : SopClassCategory
    """

    uid: str
    name: str
    retired: bool
    category: SopClassCategory = SopClassCategory.OTHER


@cache
def storage_sop_classes() -> dict[str, SopClass]:
    """Every storage SOP class, retired ones too, by UID."""
    found: dict[str, SopClass] = {}
    for uid, (name, kind, _info, retired, _keyword) in UID_DICTIONARY.items():
        stored = uid.startswith(_STORAGE_ROOT) and not any(word in name for word in _NOT_STORAGE_WORDS)
        if kind == "SOP Class" and (stored or uid in _ELSEWHERE):
            found[uid] = _entry(uid, name or uid, retired=retired == "Retired")
    for uid, name in _NEWER.items():
        found[uid] = _entry(uid, name, retired=False)
    return found


def _entry(uid: str, name: str, *, retired: bool) -> SopClass:
    return SopClass(uid, name, retired, category_of(uid) or SopClassCategory.OTHER)


def is_storage_sop_class(uid: str) -> bool:
    """Whether objects of that class are stored by C-STORE."""
    return uid in storage_sop_classes()


@cache
def sop_class_name(uid: str) -> str:
    """The standard's name of a SOP class, or the UID itself."""
    entry = UID_DICTIONARY.get(uid)
    return _NEWER.get(uid) or (entry[0] if entry else "") or uid
