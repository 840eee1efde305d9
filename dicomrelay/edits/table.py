"""PS3.15 Table E.1-1: what becomes of an attribute, by the profile, its options, and the IOD."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import lru_cache
from importlib.resources import files
from typing import Final

from dicomrelay.edits.tree import known_vr

_DATE_VRS: Final = frozenset({b"DA", b"DT", b"TM"})
_MODIFIED: Final = "modified_dates"


class Act(Enum):
    """What is done to an element (PS3.15 Table E.1-1a, with C by what is cleaned)."""

    REMOVE = auto()  # X
    EMPTY = auto()  # Z
    DUMMY = auto()  # D
    UID = auto()  # U; of a sequence, U*
    KEEP = auto()  # K
    SHIFT = auto()  # C of dates
    WORDS = auto()  # C of descriptions
    STRUCTURE = auto()  # C of structured content


_BASIC: Final = {"X": Act.REMOVE, "Z": Act.EMPTY, "D": Act.DUMMY, "U": Act.UID, "U*": Act.UID}
_CLEANED: Final = {_MODIFIED: Act.SHIFT, "clean_structured_content": Act.STRUCTURE}


@dataclass(frozen=True, slots=True)
class Row:
    """An attribute: the actions of the basic profile, strongest last, and those of options."""

    basic: tuple[str, ...]
    options: dict[str, str]


@dataclass(frozen=True, slots=True)
class Table:
    """The table, and what it needs of other parts of the standard.

    Attributes
    ----------
    rows : dict
        By tag.
    repeating : dict
        By the last four digits of a tag in groups 60xx; group 50xx has but one.
    types : dict
        Tag → IOD → "1" or "2", the conditional ones too; an IOD that is not there has the attribute as Type 3, or not at all.
    iods : dict
        SOP Class UID → IOD.
    digest : str
        Names the edition.
    """

    rows: dict[int, Row] = field(default_factory=dict)
    repeating: dict[str, Row] = field(default_factory=dict)
    types: dict[int, dict[str, str]] = field(default_factory=dict)
    iods: dict[str, str] = field(default_factory=dict)
    digest: str = ""

    def row(self, tag: int) -> Row | None:
        """The row of a tag."""
        found = self.rows.get(tag)
        if found is None and tag >> 24 == 0x50:
            return self.repeating.get("50")
        if found is None and tag >> 24 == 0x60:
            return self.repeating.get(f"60{tag & 0xFFFF:04x}")
        return found

    def act(self, tag: int, options: frozenset[str], iod: str | None) -> Act | None:
        """What is done to an attribute; None when the table has nothing to say of it.

        Parameters
        ----------
        iod : str, optional
            Of the SOP class; None where that is not known, and inside of sequences: the types there are others.
        """
        row = self.row(tag)
        if row is None:
            return None
        chosen = {name: what for name, what in row.options.items() if name in options}
        if _MODIFIED in chosen and "full_dates" not in chosen and known_vr(tag) in _DATE_VRS | {b""}:
            return (
                Act.SHIFT
            )  # what PS3.6 has since our dictionary, says what it is, or it is none that can be moved
        if "K" in chosen.values():
            return Act.KEEP
        for name in chosen:
            act = _CLEANED.get(name, Act.WORDS)
            if act is not Act.SHIFT:
                return Act.STRUCTURE if known_vr(tag) == b"SQ" else act
        return self.basic(tag, iod)

    def basic(self, tag: int, iod: str | None) -> Act:
        """What the basic profile does to an attribute of the table, without options."""
        row = self.row(tag)
        parts = row.basic if row is not None else ("X",)
        if len(parts) == 1 or iod is None:
            return _BASIC[parts[-1]]
        wanted = {"1": parts[-1], "2": "Z", "3": "X"}[self.types.get(tag, {}).get(iod, "3")]
        # Z/D has no X, X/D has no Z: then what says nothing and keeps the structure.
        fallback = "Z" if wanted == "X" and "Z" in parts else parts[-1]
        return _BASIC[wanted if wanted in parts else fallback]


def read_table(name: str) -> str:
    """The text of a table that comes with us."""
    return files("dicomrelay.edits").joinpath(name).read_text("utf-8")


@lru_cache(maxsize=1)
def table() -> Table:
    """Our copy of it (tests/support/confidentiality_table.py makes it)."""
    text = read_table("table_e1_1.txt")
    made = Table(digest=hashlib.sha256(text.encode()).hexdigest()[:12])
    for line in text.splitlines():
        kind, *words = line.split()
        if kind == "a":
            _add(made, words)
        elif kind == "t":
            made.types.setdefault(int(words[0], 16), {}).update(dict.fromkeys(words[2:], words[1]))
        elif kind == "s":
            made.iods[words[0]] = words[1]
    return made


def _add(made: Table, words: list[str]) -> None:
    tag, action, *options = words
    row = Row(tuple(action.split("/")), dict(option.split("=") for option in options))
    if tag.startswith("50xx"):
        made.repeating["50"] = row
    elif tag.startswith("60xx"):
        made.repeating[f"60{tag[4:]}"] = row
    else:
        made.rows[int(tag, 16)] = row
