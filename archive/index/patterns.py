"""Wildcards and beginnings of text, as conditions that an index answers where it can (PS3.4 Section C.2.2.2.4)."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ColumnElement, and_

# Behind every character there is, where text is compared byte by byte.
LAST_CHARACTER: Final = "\U0010ffff"
_ESCAPE: Final = "/"


def is_pattern(value: str) -> bool:
    """Whether a value has wildcards."""
    return "*" in value or "?" in value


def like(column: ColumnElement[Any], pattern: str) -> ColumnElement[bool]:
    """A pattern against text as it is kept. What stands before the first wildcard is a range of the column's index."""
    beginning = pattern.split("*", 1)[0].split("?", 1)[0]
    if not beginning:
        return fits(column, pattern)
    if pattern == f"{beginning}*":
        return begins_with(column, beginning)
    return and_(begins_with(column, beginning), fits(column, pattern))


def fits(column: ColumnElement[Any], pattern: str) -> ColumnElement[bool]:
    """A pattern against each text there is."""
    return column.like(_escaped(pattern).replace("*", "%").replace("?", "_"), escape=_ESCAPE)


def begins_with(column: ColumnElement[Any], beginning: str) -> ColumnElement[bool]:
    """A range of the column's index."""
    return and_(column >= beginning, column < beginning + LAST_CHARACTER)


def _escaped(text: str) -> str:
    return text.replace("/", "//").replace("%", "/%").replace("_", "/_")
