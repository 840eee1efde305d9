"""The last look: whether anything that was replaced is still there."""

from __future__ import annotations

import re
from typing import Final

from dicomrelay.edits.text import Letters
from dicomrelay.edits.tree import TEXT_VRS, Item, Leaf, Place, Sequence, place_name
from dicomrelay.errors import NotEditable

# A name shorter than that is in half of all words; in scripts that write no spaces between words, two are a whole name.
_MIN_LETTERS: Final = 4
_MIN_OTHERS: Final = 2
# Coding Scheme Designator and Version, Code Meaning: of a vocabulary, where a name is a word like others.
_OF_CODES: Final = frozenset({0x00080102, 0x00080103, 0x00080104})
_UID_LIKE: Final = re.compile(r"\d+(?:\.\d+){3,}", re.ASCII)
_SEPARATORS: Final = re.compile(r"[\^=\\\s]+")
_LOOKED_AT: Final = TEXT_VRS | {b"UI", b"UN"}


class LastLook:
    """Looks through a tree for what must not be in it.

    Parameters
    ----------
    uids : set of str
        UIDs that were replaced.
    names : list of str
        The patient's name and ids, as they were.
    """

    def __init__(self, uids: set[str], names: list[str]) -> None:
        self._uids = uids
        parts = {part for name in names for part in (name, *_SEPARATORS.split(name))}
        words = [
            rf"(?<!\w){re.escape(part)}(?!\w)"
            for part in parts
            if part.isascii() and len(part) >= _MIN_LETTERS
        ]
        words += [re.escape(part) for part in parts if not part.isascii() and len(part) >= _MIN_OTHERS]
        self._names = re.compile("|".join(sorted(words)), re.IGNORECASE) if words else None

    def over(self, item: Item, place: Place = (), outer: Letters | None = None) -> None:
        """Look at every text.

        Raises
        ------
        NotEditable
            Something is still there; the message has its tag and not its value.
        """
        letters = Letters.of(item, outer)
        for tag, node in item.elements.items():
            here = (*place, tag)
            if isinstance(node, Sequence):
                for inner in node.items:
                    self.over(inner, here, letters)
            elif isinstance(node, Leaf) and node.kind in _LOOKED_AT and self._is_in(node, letters):
                raise NotEditable(
                    f"{place_name(here)} still holds what was to be removed: add it to `remove` of the profile"
                )

    def _is_in(self, leaf: Leaf, letters: Letters) -> bool:
        text = letters.decode(leaf)
        if any(uid in self._uids for uid in _UID_LIKE.findall(text)):
            return True
        return self._names is not None and leaf.tag not in _OF_CODES and self._names.search(text) is not None
