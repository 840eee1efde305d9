"""What came of a button, until the page after it has said so."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

_MOST: Final = 256


@dataclass(frozen=True, slots=True)
class Word:
    """Lines for a person; `went_well` says how they are drawn."""

    lines: tuple[str, ...]
    went_well: bool = True


class Said:
    """Words by a key that cannot be guessed: so no link of another site can make a page say something."""

    def __init__(self) -> None:
        self._words: OrderedDict[str, Word] = OrderedDict()

    def put(self, word: Word) -> str:
        """Keep it; its key."""
        key = secrets.token_urlsafe(12)
        self._words[key] = word
        while len(self._words) > _MOST:
            self._words.popitem(last=False)
        return key

    def get(self, key: str) -> Word | None:
        """What was kept under it; it stays, for the page is asked for again and again."""
        return self._words.get(key)
