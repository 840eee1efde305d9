"""The registry of SOP classes (PS3.6 Annex A, PS3.4 Annex B.5), taken from pynetdicom's tables."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from pydicom._uid_dict import UID_dictionary

_STORAGE_ROOT = "1.2.840.10008.5.1.4.1.1."
# Under the same root and no objects to store: they query.
_NOT_STORAGE_WORDS = ("Query", "FIND", "MOVE", "GET", "Management", "Creation")
# Objects without a patient are stored by C-STORE too (PS3.4 Annex GG).
_NON_PATIENT_STORAGE = frozenset(
    f"1.2.840.10008.5.1.4.{n}" for n in ("34.1", "38.1", "39.1", "43.1", "44.1", "45.1")
)
# Newer than pydicom's dictionary.
_NEWER = {
    "1.2.840.10008.5.1.4.1.1.66.7": "Label Map Segmentation Storage",
    "1.2.840.10008.5.1.4.1.1.66.8": "Height Map Segmentation Storage",
    "1.2.840.10008.5.1.4.1.1.9.100.1": "Waveform Presentation State Storage",
    "1.2.840.10008.5.1.4.1.1.9.100.2": "Waveform Acquisition Presentation State Storage",
}


@dataclass(frozen=True, slots=True)
class SopClass:
    """A SOP class: UID and name as in PS3.6 Table A-1."""

    uid: str
    name: str
    retired: bool


@cache
def storage_sop_classes() -> dict[str, SopClass]:
    """Every storage SOP class, retired ones too, by UID."""
    # Late: 0.2 s of imports that most commands can do without.
    from pynetdicom.presentation import AllStoragePresentationContexts  # noqa: PLC0415

    current = {str(context.abstract_syntax) for context in AllStoragePresentationContexts}
    found: dict[str, SopClass] = {}
    for uid, (name, kind, _info, retired, _keyword) in UID_dictionary.items():
        stored = uid.startswith(_STORAGE_ROOT) and not any(word in name for word in _NOT_STORAGE_WORDS)
        if kind == "SOP Class" and (stored or uid in current or uid in _NON_PATIENT_STORAGE):
            found[uid] = SopClass(uid, name or uid, retired == "Retired")
    for uid in sorted(current - found.keys()):
        found[uid] = SopClass(uid, sop_class_name(uid), retired=False)
    return found


def is_storage_sop_class(uid: str) -> bool:
    """Whether objects of that class are stored by C-STORE."""
    return uid in storage_sop_classes()


@cache
def sop_class_name(uid: str) -> str:
    """The standard's name of a SOP class, or the UID itself."""
    entry = UID_dictionary.get(uid)
    return (entry[0] if entry else _NEWER.get(uid)) or uid
