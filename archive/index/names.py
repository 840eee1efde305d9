"""Person names as conditions: the whole name, or one of its component groups.

A name may stand there up to three times, in the letters of A to Z, as it is written and as it is spoken, with `=` between
(PS3.5 Section 6.2.1.2): `Yamada^Tarou=山田^太郎=やまだ^たろう`. Who looks for a name knows one of them. PS3.4 Section
C.2.2.2.1 leaves it open how the groups are matched; here each of them is matched by itself, and all of them together.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Column, ColumnElement, and_, func, literal_column, or_, select, union_all

from archive.index.keys import folded
from archive.index.patterns import begins_with, fits, is_pattern, like

GROUP: Final = "="
_GROUP_IN_SQL: Final[ColumnElement[str]] = literal_column("'='")
_NOTHING_IN_SQL: Final[ColumnElement[str]] = literal_column("''")


def matches_name(key: Column[Any], value: str) -> ColumnElement[bool]:
    """Whether a name, folded, is what is asked for, or one of its groups is.

    The whole name and its first group are ranges of the index of all names. The groups behind it are looked for among the
    names that have some, which have an index of their own (`archive.index.schema`).
    """
    asked = folded(value, is_name=True)
    has_wildcards = is_pattern(asked)
    whole = like(key, asked) if has_wildcards else key == asked
    if GROUP in asked:
        return whole
    ways = [
        whole,
        _is_grouped_with(key, or_(fits(key, f"*{GROUP}{asked}"), fits(key, f"*{GROUP}{asked}{GROUP}*"))),
    ]
    if not has_wildcards:
        ways.append(begins_with(key, f"{asked}{GROUP}"))
    elif not asked.endswith("*"):
        ways.append(like(key, f"{asked}{GROUP}*"))
    if asked.startswith(("*", "?")):
        return or_(*ways)
    # Each by the index that suits it: SQLite would walk the whole table for an OR where the answer is sorted.
    own = key.table.c.id
    return own.in_(union_all(*(select(own).where(way).correlate(None) for way in ways)))


def _is_grouped_with(key: Column[Any], condition: ColumnElement[bool]) -> ColumnElement[bool]:
    # As the partial index has it, letter by letter: without parameters. The range takes every name.
    return and_(func.replace(key, _GROUP_IN_SQL, _NOTHING_IN_SQL) != key, key > "", condition)
