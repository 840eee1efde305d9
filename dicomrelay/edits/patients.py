"""Whose data set it is: the patient's pseudonym, and how far the dates go back."""

from __future__ import annotations

from typing import Final

from dicomrelay.edits.keys import ACCESSION, PATIENT, STUDY, Key, Pseudonym
from dicomrelay.edits.text import Letters, stripped
from dicomrelay.edits.tree import Item, Leaf

PATIENT_NAME: Final = 0x00100010
PATIENT_ID: Final = 0x00100020
STUDY_INSTANCE_UID: Final = 0x0020000D
_SOP_INSTANCE_UID: Final = 0x00080018
_ISSUER: Final = 0x00100021
PSEUDONYMS: Final[dict[int, Pseudonym]] = {
    PATIENT_NAME: PATIENT,
    PATIENT_ID: PATIENT,
    0x00080050: ACCESSION,
    0x00200010: STUDY,
}


class Patient:
    """That of a data set.

    Attributes
    ----------
    pseudonym : str
        The patient's; of a study, or of the instance, where there is no id.
    """

    def __init__(self, key: Key, tree: Item, letters: Letters) -> None:
        self._key = key
        self._id = _value(tree, PATIENT_ID, letters)
        self._is_nobody = not self._id and not _uid(tree, STUDY_INSTANCE_UID)
        self.pseudonym = self._pseudonym_of(tree, letters)

    def days(self, most: int) -> int:
        """How far the dates go back; nothing for a patient whose dates went already, and for what is of no patient."""
        if self._is_nobody or self._key.is_pseudonym(PATIENT, self._id):
            return 0
        return self._key.days(self.pseudonym, most)

    def pseudonymised(self, leaf: Leaf, item: Item, letters: Letters) -> Leaf:
        """A name, an id or a number, of the data set or of an item, as it goes out."""
        text = stripped(letters.decode(leaf))
        if not text:
            return leaf
        if PSEUDONYMS[leaf.tag] is not PATIENT:
            after = self._key.pseudonym(PSEUDONYMS[leaf.tag], text)
        elif item.leaf(PATIENT_ID).strip(b" \0"):
            after = self._pseudonym_of(item, letters)
        else:
            after = self.pseudonym
        return leaf if after == text else letters.encode(leaf.tag, leaf.vr, after)

    def _pseudonym_of(self, item: Item, letters: Letters) -> str:
        if patient := _value(item, PATIENT_ID, letters):
            return self._key.pseudonym(PATIENT, patient, _value(item, _ISSUER, letters))
        # What is of no patient, as a palette, is its own.
        study = _uid(item, STUDY_INSTANCE_UID) or _uid(item, _SOP_INSTANCE_UID)
        return self._key.pseudonym(PATIENT, self._key.uid(study), "of a study")


def _value(item: Item, tag: int, letters: Letters) -> str:
    found = item.elements.get(tag)
    return stripped(letters.decode(found)) if isinstance(found, Leaf) else ""


def _uid(item: Item, tag: int) -> str:
    return stripped(item.leaf(tag).decode("latin-1"))
