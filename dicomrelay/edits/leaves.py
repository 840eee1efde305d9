"""What stands for a value: nothing, a value that says nothing, a UID of the key, another date, fewer words."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Final

from dicomrelay.edits.keys import Key
from dicomrelay.edits.text import Letters, padded, stripped
from dicomrelay.edits.tree import TEXT_VRS, Leaf, known_vr

_DUMMIES: Final = {
    b"AS": b"000Y",
    b"CS": b"REMOVED ",
    b"DA": b"19000101",
    b"DS": b"0 ",
    b"DT": b"19000101000000",
    b"IS": b"0 ",
    b"TM": b"000000",
    b"UR": b"urn:removed ",
}
_WIDTHS: Final = {
    **dict.fromkeys((b"SS", b"US"), 2),
    **dict.fromkeys((b"AT", b"FL", b"OF", b"OL", b"SL", b"UL"), 4),
    **dict.fromkeys((b"FD", b"OD", b"OV", b"SV", b"UV"), 8),
}
DATES: Final = frozenset({b"DA", b"DT", b"TM"})
_CLOCK: Final = r"\d{2}(?::?\d{2}(?::?\d{2}(?:\.\d{1,9})?)?)?"
# As PS3.5 Table 6.2-1 has them, dots and colons as ACR-NEMA had them, and nothing behind.
_FORMS: Final = {
    # Ages and numbers.
    b"AS": re.compile(r"\d{3}[DWMY]", re.ASCII),
    b"DS": re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII),
    b"IS": re.compile(r"[+-]?\d+", re.ASCII),
    b"DA": re.compile(r"\d{4}\.\d{2}\.\d{2}|\d{8}", re.ASCII),
    b"DT": re.compile(rf"\d{{4}}(?:\d{{2}}(?:\d{{2}}(?:{_CLOCK})?)?)?(?:[+-]\d{{4}})?", re.ASCII),
    b"TM": re.compile(_CLOCK, re.ASCII),
}
# A whole day, and whatever a DT has more.
_DAY: Final = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})(.*)", re.ASCII)
_WORD: Final = re.compile(r"[^\W_]+")


def dummy(leaf: Leaf) -> Leaf:
    """A value that says nothing, and is one of its VR."""
    kind = leaf.kind
    if kind in TEXT_VRS and kind != b"UR":
        return Leaf(leaf.tag, leaf.vr, b"REMOVED ")
    return Leaf(leaf.tag, leaf.vr, _DUMMIES.get(kind, bytes(_WIDTHS.get(kind, 2))))


def mapped(leaf: Leaf, key: Key, replaced: set[str]) -> Leaf:
    """Its UIDs by the key; those that became others are added to `replaced`."""
    before = [stripped(uid) for uid in leaf.value.decode("latin-1").split("\\")]
    after = [key.uid(uid) for uid in before]
    replaced.update(old for old, new in zip(before, after, strict=True) if old != new)
    if before == after:
        return leaf
    return Leaf(leaf.tag, leaf.vr, padded(b"UI", "\\".join(after).encode("latin-1")))


def is_true_to_form(leaf: Leaf) -> bool:
    """Whether it is a date or time where it is to be one: what stands behind one may be anything. Of all else true."""
    known = known_vr(leaf.tag)
    kind = known if known in DATES else leaf.kind
    return kind not in DATES or _all_of(kind, leaf)


def is_number_or_date(leaf: Leaf) -> bool:
    """Whether it is a number, an age, a date or a time in characters, as its VR has it."""
    return leaf.kind in _FORMS and _all_of(leaf.kind, leaf)


def shifted(leaf: Leaf, days: int, kind: bytes = b"") -> Leaf | None:
    """Its dates so many days earlier, times as they are; None of what is no date.

    Parameters
    ----------
    kind : bytes
        The VR of a value that does not say it.
    """
    kind = kind or leaf.kind
    if kind not in DATES or not _all_of(kind, leaf):
        return None
    if kind == b"TM" or not days or not leaf.value.strip(b" \0"):
        return leaf
    after = [_earlier(text, days) for text in _values(leaf)]
    if any(text is None for text in after):
        return None
    return Leaf(leaf.tag, leaf.vr, padded(b"DA", "\\".join(map(str, after)).encode("latin-1")))


def _values(leaf: Leaf) -> list[str]:
    return [stripped(text) for text in leaf.value.decode("latin-1").split("\\")]


def _all_of(kind: bytes, leaf: Leaf) -> bool:
    return all(not text or _FORMS[kind].fullmatch(text) for text in _values(leaf))


def _earlier(text: str, days: int) -> str | None:
    if not text:
        return text
    found = _DAY.fullmatch(text)
    if found is None:
        return None
    try:
        moved = date(int(found[1]), int(found[2]), int(found[3])) - timedelta(days=days)
    except (ValueError, OverflowError):
        return None
    return f"{moved.year:04}{moved.month:02}{moved.day:02}{found[4]}"


def with_words(leaf: Leaf, letters: Letters, words: frozenset[str]) -> Leaf | None:
    """Those of its words that are allowed; None when that is none of them, or it has no words."""
    if leaf.kind not in TEXT_VRS and leaf.kind != b"CS":
        return None
    text = letters.decode(leaf)
    kept = [word for word in _WORD.findall(text) if word.casefold() in words]
    if not kept:
        return None
    # What is nothing but allowed words stays as it is written.
    whole = _WORD.sub(lambda found: "" if found[0].casefold() in words else "x", text)
    if not any(letter.isalnum() for letter in whole):
        return leaf
    return letters.encode(leaf.tag, leaf.vr, " ".join(kept))
