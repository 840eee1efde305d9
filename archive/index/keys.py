"""What is kept beside a text so that it can be found: folded, and for person names the words and how they sound.

Fuzzy matching of person names is left open by the standard (PS3.18 Section 8.3.4.2). Ours: every word of what is asked
begins a word of the name, or sounds as one of them does; the order does not matter, and neither do accents and case.
Words are runs of letters and digits, so that components, groups (`=`) and hyphens part them. A word of other letters
than A to Z has no sound and is found by its beginning only.

The sound is Soundex with its first letter grouped too, so that Karl is found as Carl: C Q as K, V W as F, Z as S, J Y as
I, and PH is an F wherever it stands.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from archive.attributes import Attribute, Value

_WORD: Final = re.compile(r"[^\W_]+")
_SOUND_MARK: Final = "~"
_LENGTH: Final = 4
_CODES: Final = {
    letter: digit
    for digit, letters in (("1", "bfpv"), ("2", "cgjkqsxz"), ("3", "dt"), ("4", "l"), ("5", "mn"), ("6", "r"))
    for letter in letters
}
_FIRST: Final = {"c": "k", "q": "k", "v": "f", "w": "f", "z": "s", "j": "i", "y": "i"}


def folded(text: str, *, is_name: bool = False) -> str:
    """Text as it is compared: without regard to case, to spaces at its end, and in a name to empty components there.

    PS3.5 Section 6.2 and PS3.4 Section C.2.2.2.4.
    """
    return text.casefold().rstrip("^= " if is_name else " ")


def derived(attribute: Attribute, value: Value) -> dict[str, str | None]:
    """The columns that are made from a value of an attribute."""
    if not attribute.derived_columns:
        return {}
    is_name = attribute.vr == "PN"
    text = None if value is None else str(value)
    made = {f"{attribute.column}_key": None if text is None else folded(text, is_name=is_name)}
    if is_name:
        made[f"{attribute.column}_words"] = None if text is None else indexed_words(text)
    return made


def words_of(name: str) -> list[str]:
    """The words of a name, lower-case and without accents, each once, sorted."""
    apart = unicodedata.normalize("NFKD", name.casefold())
    plain = "".join(character for character in apart if not unicodedata.combining(character))
    return sorted(set(_WORD.findall(plain)))


def indexed_words(name: str) -> str | None:
    """What is kept of a name for fuzzy matching: its words and their sounds, a space before, between and after them."""
    words = words_of(name)
    sounds = sorted({f"{_SOUND_MARK}{sound}" for word in words if (sound := sound_of(word))})
    return " ".join(("", *words, *sounds, "")) if words else None


def fuzzy_patterns(name: str) -> list[tuple[str, ...]]:
    """LIKE patterns for `indexed_words`: each word that is asked for gives alternatives, and one of them must match."""
    return [
        (f"% {word}%", *((f"% {_SOUND_MARK}{sound} %",) if (sound := sound_of(word)) else ()))
        for word in words_of(name)
    ]


def sound_of(word: str) -> str:
    """How a lower-case word sounds: a letter and three digits; empty when it has other letters than a to z."""
    if not (word.isascii() and word.isalpha()):
        return ""
    word = word.replace("ph", "f")
    code, before = _FIRST.get(word[0], word[0]), _CODES.get(word[0], "")
    for letter in word[1:]:
        digit = _CODES.get(letter, "")
        if digit and digit != before:
            code += digit
        # H and W do not part what sounds the same, vowels do.
        if letter not in "hw":
            before = digit
    return code[:_LENGTH].ljust(_LENGTH, "0")
