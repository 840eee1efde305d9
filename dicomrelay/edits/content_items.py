"""PS3.15 Table E.3.4-1: what becomes of a content item, by its concept name and value type."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Final

from dicomrelay.edits.table import Act, Row, read_table
from dicomrelay.edits.text import stripped
from dicomrelay.edits.tree import Item

_VALUE_TYPE: Final = 0x0040A040
_CONCEPT_NAME: Final = 0x0040A043
_SCHEME: Final = 0x00080102
# Code Value, Long Code Value.
_CODES: Final = (0x00080100, 0x00080119)
# As the code of SNOMED RT was named (PS3.15 Section E.3.4).
_OLD_SCHEMES: Final = {"SNM3": "SRT", "99SDM": "SRT"}
_DATES: Final = frozenset({"DATE", "DATETIME", "TIME"})
_DATE_OPTIONS: Final = frozenset({"full_dates", "modified_dates"})
_STRUCTURED: Final = "clean_structured_content"
# Where the value of an item is: DateTime, Date, Time, Person Name, UID, Text Value (PS3.3 Table C.17.3-7).
VALUES: Final = frozenset({0x0040A120, 0x0040A121, 0x0040A122, 0x0040A123, 0x0040A124, 0x0040A160})
_BASIC: Final = {"X": Act.REMOVE, "D": Act.DUMMY}
_Name = tuple[str, str]


class ContentItems:
    """The table.

    Attributes
    ----------
    rows : dict
        Scheme and code → value type → what the profile does, and what options do.
    digest : str
        Names the edition.
    """

    def __init__(self, text: str) -> None:
        self.rows: dict[_Name, dict[str, Row]] = {}
        self.digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        for line in text.splitlines():
            if line.startswith("#"):
                continue
            scheme, code, value_type, action, *options = line.partition(" ; ")[0].split()
            row = Row(tuple(action.split("/")), dict(option.split("=") for option in options))
            self.rows.setdefault((scheme, code), {})[value_type] = row

    def row(self, item: Item) -> Row | None:
        """The row of an item; None of what is none, or is not in the table."""
        for name in item.items(_CONCEPT_NAME):
            found = self.rows.get(_name(name))
            if found is not None:
                return _of_type(found, _text(item, _VALUE_TYPE))
        return None

    def act(self, item: Item, options: frozenset[str]) -> Act | None:
        """What is done to an item; None when the table has nothing to say of it.

        X/D is D: which template a document follows, and what that requires, is not known here. Without the option Clean
        Structured Content, only the options of dates count, which Table E.1-1 has for the value itself.
        """
        row = self.row(item)
        if row is None:
            return None
        wanted = options if _STRUCTURED in options else options & _DATE_OPTIONS
        chosen = {name: what for name, what in row.options.items() if name in wanted}
        if "K" in chosen.values():
            return Act.KEEP
        if "modified_dates" in chosen:
            return Act.SHIFT
        return Act.WORDS if chosen else _BASIC[row.basic[-1]]


@lru_cache(maxsize=1)
def content_items() -> ContentItems:
    """Our copy of it (tests/support/confidentiality_table.py makes it)."""
    return ContentItems(read_table("table_e3_4_1.txt"))


def _of_type(found: dict[str, Row], value_type: str) -> Row | None:
    """That of the value type; of a date in another form, the same; of an item that does not say its type, any."""
    if value_type in found:
        return found[value_type]
    if value_type in _DATES or not value_type:
        return next((row for kind, row in found.items() if kind in _DATES or not value_type), None)
    return None


def _name(code: Item) -> _Name:
    scheme = _text(code, _SCHEME)
    # "NCDR [2.0b]" stands for a scheme and its version.
    scheme = _OLD_SCHEMES.get(scheme, scheme).partition(" [")[0]
    return scheme, next(filter(None, (_text(code, tag) for tag in _CODES)), "")


def _text(item: Item, tag: int) -> str:
    return stripped(item.leaf(tag).decode("latin-1"))
