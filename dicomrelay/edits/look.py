"""The last look: whether anything that was replaced is still there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from dicomrelay.edits import leaves
from dicomrelay.edits.names import Names
from dicomrelay.edits.text import Letters, stripped
from dicomrelay.edits.tree import (
    CHARACTER_SET_VRS,
    PUBLISHED_SCHEMES,
    TEXT_VRS,
    Item,
    Leaf,
    Place,
    Sequence,
    known_vr,
    place_name,
)
from dicomrelay.errors import NotEditable

_SCHEME: Final = 0x00080102
# Coding Scheme Designator and Version, Code Meaning: of a published vocabulary, where a name is a word like others.
_OF_CODES: Final = frozenset({_SCHEME, 0x00080103, 0x00080104})
_OF_THE_STANDARD: Final = "1.2.840.10008."
_UID_LIKE: Final = re.compile(r"(?<!\d)\d++(?:\.\d++){3,}", re.ASCII)
_MIN_PARTS: Final = 4
_NUMBERS: Final = frozenset(
    {b"AT", b"FD", b"FL", b"OD", b"OF", b"OL", b"OV", b"SL", b"SS", b"SV", b"UL", b"US", b"UV"}
)
_OPAQUE: Final = frozenset({b"OB", b"OW", b"UN"})
# In more than that of arbitrary bytes, four letters in a row may well be chance.
_SHORT_BYTES: Final = 4096
_ADVICE: Final = "add it to `remove` of the profile"


class LastLook:
    """Looks through a tree for what must not be in it.

    Parameters
    ----------
    uids : set of str
        UIDs that were replaced.
    names, ids : list of str
        The patient's name and ids, as they were.

    Raises
    ------
    NotEditable
        There are more parts of names than a name has.
    """

    def __init__(self, uids: set[str], names: Iterable[str], ids: Iterable[str] = ()) -> None:
        self._uids = uids
        self._names = Names(names, ids)

    def over(self, item: Item, place: Place = (), outer: Letters | None = None) -> None:
        """Look at every value but numbers and bulk.

        Raises
        ------
        NotEditable
            Something is still there; the message has its tag and not its value.
        """
        letters = Letters.of(item, outer)
        is_published = stripped(item.leaf(_SCHEME).decode("latin-1")) in PUBLISHED_SCHEMES
        for tag, node in item.elements.items():
            here = (*place, tag)
            if isinstance(node, Sequence):
                for inner in node.items:
                    self.over(inner, here, letters)
            elif isinstance(node, Leaf) and _is_looked_at(node):
                self._look(node, here, letters, is_code=is_published and tag in _OF_CODES)

    def _look(self, leaf: Leaf, here: Place, letters: Letters, *, is_code: bool) -> None:
        known = known_vr(leaf.tag)
        is_opaque = leaf.kind in _OPAQUE and known not in TEXT_VRS
        # A text is one, whatever VR it was written with.
        as_text = Leaf(leaf.tag, known, leaf.value) if known in CHARACTER_SET_VRS else leaf
        text = letters.decode(as_text)
        if any(uid in self._uids for uid in _uids_in(text)):
            raise NotEditable(f"{place_name(here)} still holds a UID that was to be removed: {_ADVICE}")
        if is_code or (leaf.kind == b"UI" and all(map(_is_of_the_standard, text.split("\\")))):
            return
        if self._names.are_in(text, only_long=is_opaque and len(leaf.value) > _SHORT_BYTES):
            raise NotEditable(
                f"{place_name(here)} still holds what was to be removed, the patient's id or a part of the name: {_ADVICE}, "
                'or set names_left = "send" where the name is a word like others'
            )


def _is_looked_at(leaf: Leaf) -> bool:
    """All but numbers, dates, times and ages that are what they say."""
    if leaf.kind in _NUMBERS:
        return known_vr(leaf.tag) not in _NUMBERS | {b""}
    return not leaves.is_number_or_date(leaf)


def _is_of_the_standard(uid: str) -> bool:
    return uid.startswith(_OF_THE_STANDARD)


def _uids_in(text: str) -> Iterator[str]:
    """What looks like UIDs, and what they begin with: a UID is often made of another."""
    for found in _UID_LIKE.findall(text):
        parts = found.split(".")
        for count in range(_MIN_PARTS, min(len(parts), 64) + 1):
            yield ".".join(parts[:count])
