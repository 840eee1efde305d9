"""Where things lie in an archive: components that `dicomrelay.dicom.file_names` makes, put together, under one root.

docs/design/archive.md has the rules; it must never know a database or a data set.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Final

from dicomrelay.dicom.file_names import component, patient_component
from dicomrelay.errors import ArchiveError

DATA: Final = "data"
FRAMES: Final = "frames"
CONFLICTS: Final = "conflicts"
REMOVED: Final = "removed"


class Layout:
    """The paths of one archive.

    Parameters
    ----------
    root : Path
        The archive's folder. It need not exist yet.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    @staticmethod
    def instance(patient_id: str, study_uid: str, series_uid: str, sop_instance_uid: str) -> str:
        """The relative path of a stored instance: `data/PATIENT_ID/STUDY_UID/SERIES_UID/SOP_INSTANCE_UID.dcm`."""
        folders = (DATA, patient_component(patient_id), component(study_uid), component(series_uid))
        return "/".join((*folders, f"{component(sop_instance_uid)}.dcm"))

    @staticmethod
    def frames(study_uid: str, series_uid: str, sop_instance_uid: str, *, suffix: str = "frames") -> str:
        """The relative path of an instance's frame index, or of another file made from it."""
        folders = (FRAMES, component(study_uid), component(series_uid))
        return "/".join((*folders, f"{component(sop_instance_uid)}.{suffix}"))

    @staticmethod
    def conflict(sop_instance_uid: str, digest: str) -> str:
        """The relative path of what is set aside: `conflicts/SOP_INSTANCE_UID/<digest>.dcm`."""
        return "/".join((CONFLICTS, component(sop_instance_uid), f"{component(digest)}.dcm"))

    @staticmethod
    def removal(change_id: str) -> str:
        """The relative path of the tombstones of a removal: `removed/<id>.json`."""
        return f"{REMOVED}/{component(change_id)}.json"

    def resolve(self, relative: str, folders: dict[str, Path] | None = None) -> Path:
        """The path for a relative path of ours, checked to lie under the root.

        Parameters
        ----------
        folders : dict, optional
            Folders that were looked at already, by relative path; those that are looked at now are added. For one batch.

        Raises
        ------
        ArchiveError
            It is absolute, empty, climbs, or a symbolic link leads out of the archive.
        """
        folder, _, name = relative.rpartition("/")
        known = folders.get(folder) if folders else None
        if known is not None and name not in ("", ".", "..") and "\0" not in name:
            path = known / name
            if not path.is_symlink():
                return path
        parts = PurePosixPath(relative).parts
        if "\0" in relative or not parts or parts[0] == "/" or ".." in parts:
            raise ArchiveError(f"{_last(relative)!r} has no path in the archive {self.root}")
        path = self.root.joinpath(*parts)
        root = os.path.realpath(self.root)
        if os.path.commonpath((root, os.path.realpath(path))) != root:
            raise ArchiveError(
                f"{_last(relative)!r} leads out of the archive {self.root}; is a folder a symbolic link?"
            )
        if folders is not None:
            folders[folder] = path.parent
        return path


def _last(relative: str) -> str:
    """What may be said of a path: its end is made of a UID, above that is the patient id."""
    return PurePosixPath(relative).name
