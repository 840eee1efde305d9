"""File names from strings of the wire: the only place where one becomes part of a path (docs/design/archive.md).

Archive, receiver and retriever name their files here, and check besides that the path lies under their root.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

NO_PATIENT_ID: Final = "NO_PATIENT_ID"

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


def patient_component(patient_id: str) -> str:
    """The same for Patient ID (0010,0020); `NO_PATIENT_ID` for an empty one, which no id that is not empty becomes."""
    return component(patient_id) if patient_id else NO_PATIENT_ID
