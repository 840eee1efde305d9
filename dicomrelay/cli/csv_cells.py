"""What may stand in a cell of a CSV file, whoever made it up."""

from __future__ import annotations

import unicodedata
from typing import Final

# What is no letter: controls, halves of pairs, separators of lines; and what turns the direction of writing.
_CONTROL: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
_TURNING: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# A spreadsheet takes a cell that begins so for a formula, also in full width.
_FORMULA: Final = tuple("=+-@\t\r＝＋－＠")


def cell(text: str) -> str:
    """The text with controls as JSON writes them, and an apostrophe before what a spreadsheet would compute."""
    plain = text.isascii() and text.isprintable()
    safe = text if plain else "".join(map(_escaped, text))
    return f"'{safe}" if text.startswith(_FORMULA) else safe


def _escaped(character: str) -> str:
    is_control = character in _TURNING or unicodedata.category(character) in _CONTROL
    return f"\\u{ord(character):04x}" if is_control else character
