"""Where things lie in an archive. The only place where a string from the wire becomes part of a path.

`component` makes one string safe for one path component; `Layout` puts components together and checks that the result
lies under the root. docs/design/archive.md has the rules; it must never know a database or a data set.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path, PurePosixPath
from typing import Final

from dicomrelay.errors import ArchiveError

NO_PATIENT_ID: Final = "NO_PATIENT_ID"
DATA: Final = "data"
FRAMES: Final = "frames"

# What stands for itself: nothing hidden, nothing that another file system trims, folds or reserves.
_PLAIN = re.compile(r"[A-Za-z0-9_-](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9_-])?", re.ASCII)
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+", re.ASCII)
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", re.ASCII | re.IGNORECASE)
_KEPT_CHARACTERS = 40
_HASH_CHARACTERS = 24


def component(text: str) -> str:
    """One path component for a string from the wire, always the same for the same string.

    A harmless string of at most 64 characters stands for itself. In any other, what is not a letter, digit, `_` or `-`
    of ASCII becomes `_`, 40 characters are kept, and `~` and 96 bits of its SHA-256 follow: two different strings never
    meet, since `~` is not harmless.

    Parameters
    ----------
    text : str
        Anything, also empty or with unpaired surrogates.

    Returns
    -------
    str
        1 to 65 characters of `A-Za-z0-9._~-`, beginning and ending with neither dot nor space.
    """
    if _PLAIN.fullmatch(text) and text != NO_PATIENT_ID and not _RESERVED.fullmatch(text):
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{_UNSAFE.sub('_', text)[:_KEPT_CHARACTERS]}~{digest[:_HASH_CHARACTERS]}"


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
        patient = component(patient_id) if patient_id else NO_PATIENT_ID
        folders = (DATA, patient, component(study_uid), component(series_uid))
        return "/".join((*folders, f"{component(sop_instance_uid)}.dcm"))

    @staticmethod
    def frames(study_uid: str, series_uid: str, sop_instance_uid: str, *, suffix: str = "frames") -> str:
        """The relative path of an instance's frame index, or of another file made from it."""
        folders = (FRAMES, component(study_uid), component(series_uid))
        return "/".join((*folders, f"{component(sop_instance_uid)}.{suffix}"))

    def resolve(self, relative: str) -> Path:
        """The path for a relative path of ours, checked to lie under the root.

        Raises
        ------
        ArchiveError
            It is absolute, empty, climbs, or a symbolic link leads out of the archive.
        """
        parts = PurePosixPath(relative).parts
        if "\0" in relative or not parts or parts[0] == "/" or ".." in parts:
            raise ArchiveError(f"{_last(relative)!r} has no path in the archive {self.root}")
        path = self.root.joinpath(*parts)
        root = os.path.realpath(self.root)
        if os.path.commonpath((root, os.path.realpath(path))) != root:
            raise ArchiveError(
                f"{_last(relative)!r} leads out of the archive {self.root}; is a folder a symbolic link?"
            )
        return path


def _last(relative: str) -> str:
    """What may be said of a path: its end is made of a UID, above that is the patient id."""
    return PurePosixPath(relative).name
