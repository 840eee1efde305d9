"""What the index cannot say of a row: matching of PS3.4 Section C.2.2.2 that is finer than its columns. Pure.

The index finds all that may match; these say which of it does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from dicomrelay.dicom.wildcards import Wildcards

Row: TypeAlias = Mapping[str, Any]
Filter: TypeAlias = Callable[[Row], bool]

_FIRST_MOMENT: Final = "000000.000000"
_LAST_MOMENT: Final = "235959.999999"


def has_wildcards(value: str) -> bool:
    """Whether a text is a pattern."""
    return "*" in value or "?" in value


def folded_name(name: str) -> str:
    """A group of a name as it is compared: without regard to case, and to empty components at its end."""
    return name.casefold().rstrip("^ ")


def text_filter(keyword: str, patterns: Sequence[str]) -> Filter:
    """One of several patterns, case and all; of an attribute with several values any may match."""
    wanted = tuple(Wildcards(pattern) for pattern in patterns)

    def fits(row: Row) -> bool:
        found = row.get(keyword)
        values = found if isinstance(found, list | tuple) else [found]
        return any(
            pattern.matches(str(value)) for value in values if value not in (None, "") for pattern in wanted
        )

    return fits


def name_pattern(value: str) -> str:
    """For the index: finds every name that `name_filter` may take.

    The index holds it against the whole name and against each group of it, and looks up how it begins. Behind a group may
    stand what is empty; of several groups it is asked for the longest.
    """
    longest = max((group.rstrip("^ ") for group in value.split("=")), key=len)
    return longest if longest.endswith("*") else f"{longest}*"


def name_filter(keyword: str, value: str) -> Filter:
    """A person name by its groups (PS3.5 Section 6.2.1).

    What has no `=` may be any one of them; else each group that is given must be the one that stands in its place.
    """
    asked = [Wildcards(folded_name(group)) for group in value.split("=")]

    def fits(row: Row) -> bool:
        groups = [folded_name(group) for group in str(row.get(keyword) or "").split("=")]
        if len(asked) == 1:
            return any(asked[0].matches(group) for group in groups if group)
        groups += [""] * (len(asked) - len(groups))
        return all(
            pattern.matches(group) for pattern, group in zip(asked, groups, strict=False) if pattern.pattern
        )

    return fits


def date_time_filter(date_keyword: str, time_keyword: str, dates: str, times: str) -> Filter:
    """A date and a time as one moment between two others (PS3.4 Section C.2.2.2.5.1).

    Parameters
    ----------
    dates, times : str
        Ranges, or a value that is both of its ends; what is open at one end is so for the moment too.
    """
    first_date, last_date = _ends(dates)
    first_time, last_time = _ends(times)
    earliest = first_date + _padded(first_time, _FIRST_MOMENT) if first_date else ""
    latest = last_date + _padded(last_time, _LAST_MOMENT) if last_date else "9"

    def fits(row: Row) -> bool:
        date, time = row.get(date_keyword), row.get(time_keyword)
        if not date:
            return False
        if not time:  # any moment of that day
            return bool(f"{date}{_LAST_MOMENT}" >= earliest and f"{date}{_FIRST_MOMENT}" <= latest)
        return earliest <= str(date) + _padded(str(time), _FIRST_MOMENT) <= latest

    return fits


def _ends(value: str) -> tuple[str, str]:
    first, dash, last = value.partition("-")
    return (first, last) if dash else (first, first)


def _padded(time: str, rest: str) -> str:
    return time + rest[len(time) :]
