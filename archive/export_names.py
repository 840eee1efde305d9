"""Names of exported files: as the archive has them, flat, or those of a file-set."""

from __future__ import annotations

from typing import Final

from archive.outline import OutlinedInstance
from dicomrelay.dicom.file_names import component, patient_component
from dicomrelay.errors import ArchiveError

# What six digits behind two letters hold (PS3.10 Section 8.2: eight characters).
_LARGEST_NUMBER: Final = 999_999


def _hierarchy(instance: OutlinedInstance) -> str:
    stored = instance.stored
    folders = (
        patient_component(instance.series.study.patient.patient_id),
        component(stored.study_instance_uid),
        component(stored.series_instance_uid),
    )
    return "/".join((*folders, _flat(instance)))


def _flat(instance: OutlinedInstance) -> str:
    return f"{component(instance.stored.sop_instance_uid)}.dcm"


def file_id(instance: OutlinedInstance) -> str:
    """A name of a file-set (PS3.10 Section 8.2). Raises ArchiveError when there are no more of them."""
    series = instance.series
    numbers = {
        "PA": series.study.patient.number,
        "ST": series.study.number,
        "SE": series.number,
        "IM": instance.number,
    }
    if max(numbers.values()) > _LARGEST_NUMBER:
        raise ArchiveError(
            f"a file-set has no names for more than {_LARGEST_NUMBER} in one folder: export less"
        )
    return "/".join(("DICOM", *(f"{letters}{number:06}" for letters, number in numbers.items())))


# Whether flat or not.
NAMES: Final = {False: _hierarchy, True: _flat}
