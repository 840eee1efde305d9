"""Which values of a column of dates or times are one (PS3.5 Section 6.2, DA and TM), said in SQL that every database has.

A data set may say anything there, such as `notadate` or `041231`, and an archive keeps what came. As text that lies between
two dates as well as any date does: what goes by dates must not take it, least of all what removes.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ColumnElement, and_, func, or_

_DIGITS: Final = "0123456789"
_SHORT_MONTHS: Final = ("04", "06", "09", "11")
_LEAP: Final = tuple(f"{number:02}" for number in range(0, 100, 4))
# Hours, hours and minutes, or up to the second; then a fraction of at most six digits may follow.
_TIME_LENGTHS: Final = (2, 4, 6)
_LONGEST_FRACTION: Final = 7


def is_one(vr: str, column: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether the value of a column is of its VR, DA or TM."""
    return is_date(column) if vr == "DA" else is_time(column)


def is_date(column: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether the value of a column is a day of the calendar: YYYYMMDD."""
    century, year = func.substr(column, 1, 2), func.substr(column, 3, 2)
    month, day = func.substr(column, 5, 2), func.substr(column, 7, 2)
    is_leap = and_(year.in_(_LEAP), or_(year != "00", century.in_(_LEAP)))
    return and_(
        func.length(column) == 8,
        _has_digits_only(column),
        month.between("01", "12"),
        day.between("01", "31"),
        or_(day <= "30", month.not_in((*_SHORT_MONTHS, "02"))),
        or_(day <= "28", month != "02", and_(day == "29", is_leap)),
    )


def is_time(column: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether the value of a column is a time of day: HH, HHMM, HHMMSS or HHMMSS.FFFFFF; 60 seconds are a leap second."""
    whole, fraction = func.substr(column, 1, 6), func.substr(column, 7)
    has_fraction = and_(
        func.substr(fraction, 1, 1) == ".",
        func.length(fraction).between(2, _LONGEST_FRACTION),
        _has_digits_only(func.substr(fraction, 2)),
    )
    return and_(
        func.length(whole).in_(_TIME_LENGTHS),
        _has_digits_only(whole),
        func.substr(column, 1, 2) <= "23",
        func.substr(column, 3, 2) <= "59",
        func.substr(column, 5, 2) <= "60",
        or_(fraction == "", has_fraction),
    )


def _has_digits_only(column: ColumnElement[Any]) -> ColumnElement[bool]:
    return func.ltrim(column, _DIGITS) == ""
