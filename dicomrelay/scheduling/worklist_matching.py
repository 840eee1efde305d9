"""How one key is matched against what an item has (PS3.4 Section C.2.2.2), on DICOM JSON. Pure.

A test gets the values of an attribute, none of them empty; an attribute without a value is matched by an empty key alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final, TypeAlias

from dicomrelay.dicom.query_values import Invalid, normalised
from dicomrelay.dicom.wildcards import Wildcards
from dicomrelay.scheduling.worklist_item import JsonItem, value_text
from dicomrelay.scheduling.worklist_moments import date_time_test

Test: TypeAlias = Callable[[Sequence[Any]], bool]
ItemTest: TypeAlias = Callable[[JsonItem], bool]

_NUMBERS: Final = frozenset({"DS", "FD", "FL", "IS", "SL", "SS", "SV", "UL", "US", "UV"})
# A backslash is a character there, and parts no values (PS3.5 Section 6.4).
_ONE_TEXT: Final = frozenset({"LT", "ST", "UR", "UT"})
_BYTES: Final = frozenset({"AT", "OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_MOST_CHARACTERS: Final = 1024
_FIRST_TIME, _LAST_TIME = "000000.000000", "235959.999999"


def test_of(vr: str, text: str) -> Test:
    """What a key with this value asks of an attribute's values.

    Parameters
    ----------
    text : str
        Not empty and not only stars; several values are parted by backslashes.

    Raises
    ------
    Invalid
        It cannot be a value of that VR, or be matched.
    """
    if vr in _BYTES:
        raise Invalid("cannot be matched")
    if len(text) > _MOST_CHARACTERS and vr != "UI":
        raise Invalid("too long")
    if vr == "PN":
        return _name(text)
    if vr in _NUMBERS:
        return _number(text)
    if vr == "DT":
        return date_time_test(text)
    if vr == "UI":
        return _any_of(frozenset(normalised(vr, text).split("\\")))
    if vr == "DA":
        first, last = ends(normalised(vr, text))
        return lambda values: any(first <= str(each) <= (last or "9") for each in values)
    if vr == "TM":
        return _time(normalised(vr, text))
    patterns = [Wildcards(each.strip()) for each in ([text] if vr in _ONE_TEXT else text.split("\\"))]
    return lambda values: any(pattern.matches(str(each).strip()) for each in values for pattern in patterns)


def ends(text: str) -> tuple[str, str]:
    """Both ends of a range; a single value is both of its."""
    first, dash, last = text.partition("-")
    return (first, last) if dash else (first, first)


def moment_test(date_tag: str, time_tag: str, dates: str, times: str) -> ItemTest:
    """A date and a time as one moment between two others (PS3.4 Table K.6-1).

    Parameters
    ----------
    dates, times : str
        Ranges; what is open at one end is so for the moment too.

    Raises
    ------
    Invalid
        One of them is no range.
    """
    (first_date, last_date), (first_time, last_time) = (
        ends(normalised(vr, text)) for vr, text in (("DA", dates), ("TM", times))
    )
    earliest = first_date + padded(first_time, _FIRST_TIME) if first_date else ""
    latest = last_date + padded(last_time, _LAST_TIME) if last_date else "9"

    def fits(item: JsonItem) -> bool:
        date, time = (str((item.get(tag, {}).get("Value") or [""])[0] or "") for tag in (date_tag, time_tag))
        if not date:
            return False
        if not time:  # any moment of that day
            return date + _LAST_TIME >= earliest and date + _FIRST_TIME <= latest
        return earliest <= date + padded(time, _FIRST_TIME) <= latest

    return fits


def padded(time: str, rest: str) -> str:
    """A time to its last digit, with what is missing from `rest`."""
    return time + rest[len(time) :]


def _any_of(wanted: frozenset[str]) -> Test:
    return lambda values: any(str(each) in wanted for each in values)


def _time(text: str) -> Test:
    first, last = ends(text)
    begin, end = padded(first, _FIRST_TIME) if first else "", padded(last, _LAST_TIME) if last else "9"
    return lambda values: any(
        begin <= padded(str(each).replace(":", ""), _FIRST_TIME) <= end for each in values
    )


def _number(text: str) -> Test:
    try:
        numbers = [Decimal(each.strip()) for each in text.split("\\")]
    except InvalidOperation:
        raise Invalid("no number") from None
    if not all(each.is_finite() for each in numbers):
        raise Invalid("no number")
    wanted = frozenset(numbers)

    def fits(values: Sequence[Any]) -> bool:
        for each in values:
            try:
                if Decimal(str(each)) in wanted:
                    return True
            except InvalidOperation:
                continue
        return False

    return fits


def _name(text: str) -> Test:
    """A name by its groups (PS3.5 Section 6.2.1), without regard to case.

    What has no `=` may be any one of them; else each group that is given must be the one that stands in its place.
    """
    asked = [Wildcards(_folded(group)) for group in text.split("=")]

    def fits(values: Sequence[Any]) -> bool:
        for each in values:
            groups = [_folded(group) for group in value_text(each).split("=")]
            if len(asked) == 1:
                if any(asked[0].matches(group) for group in groups if group):
                    return True
                continue
            groups += [""] * (len(asked) - len(groups))
            if all(
                pattern.matches(group)
                for pattern, group in zip(asked, groups, strict=False)
                if pattern.pattern
            ):
                return True
        return False

    return fits


def _folded(group: str) -> str:
    return group.casefold().rstrip("^ ")
