"""Values of attributes as numbers, dates and times that can be compared (PS3.5 Section 6.2). No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

_NUMBER: Final = re.compile(r"[+-]?(\d{1,32}(\.\d{0,32})?|\.\d{1,32})([eE][+-]?\d{1,3})?")
_DATE: Final = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})")  # with the points of ACR-NEMA
_TIME: Final = re.compile(r"(\d{2}):?(\d{2})?:?(\d{2})?(\.\d{1,6})?")
_AGE: Final = re.compile(r"(\d{1,3})([DWMY])")
_DAYS: Final = {"D": 1.0, "W": 7.0, "M": 365.25 / 12, "Y": 365.25}
_OFFSET: Final = re.compile(r"[+-]\d{4}$")


def number(text: str) -> float | None:
    """DS, IS and the binary ones; None where it is none."""
    return float(text) if _NUMBER.fullmatch(text) else None


def date(text: str) -> float | None:
    """DA, as the number yyyymmdd."""
    found = _DATE.fullmatch(text)
    if found is None or not (1 <= int(found[2]) <= 12 and 1 <= int(found[3]) <= 31):
        return None
    return float(int("".join(found.groups())))


def time_of_day(text: str) -> float | None:
    """TM, in seconds; what is left out is zero."""
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    hour, minute, second = (int(found[part] or 0) for part in (1, 2, 3))
    if hour > 23 or minute > 59 or second > 60:  # a leap second
        return None
    return 3600 * hour + 60 * minute + second + float(found[4] or 0)


def date_time(text: str) -> float | None:
    """DT, in seconds that only order it: the offset from UTC is left out, what is left out of the text is the least."""
    plain = _OFFSET.sub("", text)
    day = plain[:8].ljust(4, "x")
    filled = day + "0101"[len(day) - 4 :] if len(day) < 8 else day
    of_day, of_time = date(filled), time_of_day(plain[8:] or "00")
    return None if of_day is None or of_time is None else of_day * 100_000 + of_time


def age(text: str) -> float | None:
    """AS, in days; a year has 365.25."""
    found = _AGE.fullmatch(text)
    return int(found[1]) * _DAYS[found[2]] if found else None


_NUMBERS: Final = ("DS", "IS", "FD", "FL", "SL", "SS", "SV", "UL", "US", "UV")
# VR → what it is called, and how a value of it becomes a number.
COMPARABLE: Final[dict[str, tuple[str, Callable[[str], float | None]]]] = {
    **dict.fromkeys(_NUMBERS, ("number", number)),
    "DA": ("date", date),
    "TM": ("time", time_of_day),
    "DT": ("date and time", date_time),
    "AS": ("age", age),
}
