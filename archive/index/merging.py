"""What several instances say of one study or series, made into one row: nothing is written over, nothing is lost.

No database here: rows come in, what is to be written goes out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from archive.attributes import ATTRIBUTES, Value
from archive.index.keys import derived

_BY_COLUMN = {attribute.column: attribute for attribute in ATTRIBUTES}


@dataclass(frozen=True, slots=True)
class Saying:
    """What one instance says, by column."""

    sop_instance_uid: str
    values: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Difference:
    """An instance says something else than what is kept."""

    column: str
    kept: str
    other: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class Merged:
    """What is to be done with a row.

    Attributes
    ----------
    fill : dict
        Values that it lacked, by column, without what is made from them.
    differences : list of Difference
        One for each other value of a column; the first instance that said so.
    """

    fill: dict[str, Value] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)


def merge(kept: Mapping[str, Value], sayings: Iterable[Saying]) -> Merged:
    """Hold what instances say against a row. The first who says something where nothing was is kept from then on."""
    merged = Merged()
    seen: set[tuple[str, Value]] = set()
    for saying in sayings:
        for column, value in saying.values.items():
            if value is None:
                continue
            before = merged.fill.get(column, kept[column])
            if before is None:
                merged.fill[column] = value
            elif before != value and (column, value) not in seen and not _same(column, before, value):
                seen.add((column, value))
                merged.differences.append(
                    Difference(column, str(before), str(value), saying.sop_instance_uid)
                )
    return merged


def richest(sayings: Iterable[Saying]) -> Saying:
    """The one that says most, the first of them: it speaks for a new row."""
    return max(sayings, key=lambda saying: sum(value is not None for value in saying.values.values()))


def with_derived(values: Mapping[str, Value]) -> dict[str, Value]:
    """Values by column with the columns that are made from them."""
    row = dict(values)
    for column, value in values.items():
        row.update(derived(_BY_COLUMN[column], value))
    return row


def _same(column: str, one: Value, other: Value) -> bool:
    """Names that differ in empty components at their end are one name (PS3.5 Section 6.2)."""
    return _BY_COLUMN[column].vr == "PN" and str(one).rstrip("^= ") == str(other).rstrip("^= ")
