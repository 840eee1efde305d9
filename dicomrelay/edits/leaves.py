"""What stands for a value: nothing, a value that says nothing, a UID of the key, another date, fewer words."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Final

from dicomrelay.edits.keys import Key
from dicomrelay.edits.text import Letters, padded, stripped
from dicomrelay.edits.tree import TEXT_VRS, Leaf

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
# YYYYMMDD, or YYYY.MM.DD as ACR-NEMA had it (PS3.5 Table 6.2-1), then whatever a DT has more.
_DATE: Final = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})(.*)", re.ASCII)
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


def shifted(leaf: Leaf, days: int) -> Leaf | None:
    """Its dates so many days earlier, times as they are; None of what is no date."""
    if leaf.kind == b"TM" or not days or not leaf.value.strip(b" \0"):
        return leaf
    if leaf.kind not in (b"DA", b"DT"):
        return None
    after = [_earlier(stripped(text), days) for text in leaf.value.decode("latin-1").split("\\")]
    if any(text is None for text in after):
        return None
    return Leaf(leaf.tag, leaf.vr, padded(b"DA", "\\".join(map(str, after)).encode("latin-1")))


def _earlier(text: str, days: int) -> str | None:
    if not text:
        return text
    found = _DATE.fullmatch(text)
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
