"""Where a key of a TOML text stands: `tomllib` does not say, and a message about a rule should. No I/O.

A small scan of headings and keys at the beginning of lines; what it does not understand, such as a heading inside a text of
several lines, makes a line wrong and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, TypeAlias

Loc: TypeAlias = tuple[str | int, ...]

_PART: Final = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_DOTTED: Final = rf"{_PART}(?:\s*\.\s*{_PART})*"
_HEADING: Final = re.compile(rf"\s*(\[\[?)\s*({_DOTTED})\s*\]")
_KEY: Final = re.compile(rf"\s*({_DOTTED})\s*=")
_PARTS: Final = re.compile(_PART)


def line_of(text: str, loc: Sequence[str | int]) -> int | None:
    """The line, from 1, of a key, or of the nearest table that holds it; None where there is nothing of it.

    Parameters
    ----------
    loc : sequence
        Keys, and positions from 0 in lists, as pydantic names places.
    """
    lines, statements, places = _scanned(text)
    wanted = tuple(loc)
    for length in range(len(wanted), 0, -1):
        number = places.get(wanted[:length])
        if number is not None:
            line = statements[number][0]
            end = statements[number + 1][0] if number + 1 < len(statements) else len(lines) + 1
            return _inside(lines[line - 1 : end - 1], wanted[length:], line)
    return None


@lru_cache(maxsize=2)
def _scanned(text: str) -> tuple[list[str], list[tuple[int, Loc]], dict[Loc, int]]:
    """Lines, statements and where of those a place stands first: once for all that is found in a text."""
    statements = _statements(text)
    places: dict[Loc, int] = {}
    for number, (_, path) in enumerate(statements):
        places.setdefault(path, number)
    return text.splitlines(), statements, places


def _inside(lines: Sequence[str], rest: Sequence[str | int], first: int) -> int:
    """The line of the deepest key of `rest` that is found, one behind the other, in the lines of a value."""
    at, column = 0, 0
    for part in rest:
        if isinstance(part, int):
            continue
        pattern = re.compile(rf"""(?<![A-Za-z0-9_-])["']?{re.escape(part)}["']?\s*=""")
        for number in range(at, len(lines)):
            found = pattern.search(lines[number], column if number == at else 0)
            if found is not None:
                at, column = number, found.end()
                break
    return first + at


def _statements(text: str) -> list[tuple[int, Loc]]:
    """Line and place of each heading and each key that begins a line."""
    found: list[tuple[int, Loc]] = []
    counts: dict[Loc, int] = {}
    table: Loc = ()
    for number, line in enumerate(text.splitlines(), 1):
        heading = _HEADING.match(line)
        if heading is not None:
            keys = _keys(heading[2])
            table = _resolved(keys, counts, is_list=heading[1] == "[[")
            found.append((number, table))
            continue
        key = _KEY.match(line)
        if key is not None:
            # `when.modality = …` is a table too: what is asked for may be less deep.
            keys = _keys(key[1])
            found.extend((number, (*table, *keys[:depth])) for depth in range(1, len(keys) + 1))
    return found


def _keys(dotted: str) -> list[str]:
    return [part.strip("\"'") for part in _PARTS.findall(dotted)]


def _resolved(keys: Sequence[str], counts: dict[Loc, int], *, is_list: bool) -> Loc:
    """The table that a heading means: a list that was begun is its last entry."""
    place: Loc = ()
    for depth, key in enumerate(keys, 1):
        place = (*place, key)
        is_last = depth == len(keys)
        if is_last and is_list:
            counts[place] = counts.get(place, -1) + 1
            return (*place, counts[place])
        if place in counts:
            place = (*place, counts[place])
    return place
