"""Whether a patient's name or id stands in a text, whole or in part, however it is written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from dicomrelay.errors import NotEditable

# A part of a name that is shorter is in half of all words; in scripts that write no spaces between words, two letters are a name.
_MIN_LETTERS: Final = 4
_MIN_OTHERS: Final = 2
# A part of an id that is shorter is a year, or the number of a room.
_MIN_OF_ID: Final = 5
# So many letters are no chance, whatever stands around them, and in arbitrary bytes.
_LONG: Final = 8
_NO_CHANCE: Final = 6
# Three forms of a name of five components (PS3.5 Section 6.2.1.2) of some words each.
_MAX_PARTS: Final = 200
_WORDS: Final = re.compile(r"[^\W_]+")


class Names:
    """What is looked for.

    Parameters
    ----------
    names : list of str
        As PN has them: each part counts.
    ids : list of str
        The whole counts, with and without what stands between its letters and digits, and each longer part.

    Raises
    ------
    NotEditable
        There are more parts than a name has.
    """

    def __init__(self, names: Iterable[str], ids: Iterable[str] = ()) -> None:
        parts = {part.casefold() for part in (*_parts(names, _MIN_LETTERS), *_parts(ids, _MIN_OF_ID))}
        if len(parts) > _MAX_PARTS:
            raise NotEditable(
                f"Patient's Name (0010,0010) and Patient ID (0010,0020) have more than {_MAX_PARTS} parts: that is no name"
            )
        self._parts = sorted(parts)
        self._long = [part for part in self._parts if len(part) >= _NO_CHANCE]

    def are_in(self, text: str, *, only_long: bool = False) -> bool:
        """Whether any of it stands in a text."""
        folded = text.casefold()
        return any(_stands_in(part, folded) for part in (self._long if only_long else self._parts))


def _parts(texts: Iterable[str], least: int) -> Iterator[str]:
    for text in texts:
        words = _WORDS.findall(text)
        whole = (text.strip(), "".join(words))
        for part in (*whole, *words):
            if not part.isascii():
                if len(part) >= _MIN_OTHERS:
                    yield part
            elif len(part) >= (_MIN_LETTERS if part in whole else least):
                yield part


def _stands_in(part: str, text: str) -> bool:
    at = text.find(part)
    while at >= 0:
        if _stands_alone(part, text, at):
            return True
        at = text.find(part, at + 1)
    return False


def _stands_alone(part: str, text: str, at: int) -> bool:
    """Whether it is no part of a longer word, or of a longer number."""
    if not part.isascii() or (len(part) >= _LONG and not part.isdigit()):
        return True
    before, behind = text[at - 1 : at] if at else "", text[at + len(part) : at + len(part) + 1]
    return not _alike(before, part[0]) and not _alike(part[-1], behind)


def _alike(one: str, other: str) -> bool:
    return (one.isalpha() and other.isalpha()) or (one.isdigit() and other.isdigit())
