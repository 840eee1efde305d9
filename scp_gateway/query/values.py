"""Values of keys as the index compares them, and what is wrong with those that cannot be one (PS3.5 Section 6.2). Pure."""

from __future__ import annotations

import re
from typing import Any, Final

from pydicom.dataelem import DataElement

from dicomrelay.dicom.uids import is_tolerable_uid

# What the index takes at once.
MOST_UIDS: Final = 1000
_MOST_CHARACTERS: Final = 1024
_LARGEST_NUMBER: Final = 2**31 - 1
_DATE: Final = re.compile(r"[0-9]{4}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])", re.ASCII)
_TIME: Final = re.compile(r"([01][0-9]|2[0-3])([0-5][0-9]([0-5][0-9]|60)?(\.[0-9]{1,6})?)?", re.ASCII)
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,10}", re.ASCII)
# As ACR-NEMA wrote them, and old equipment does (PS3.5 Section 6.2, notes to DA and TM).
_OLD_DATE: Final = re.compile(r"([0-9]{4})\.([0-9]{2})\.([0-9]{2})", re.ASCII)
_FRACTION: Final = re.compile(r"\.0*$|(\.[0-9]*?)0+$", re.ASCII)


class Invalid(ValueError):
    """A value that its attribute cannot have; says what one is and never quotes it."""


def text_of(element: DataElement) -> str:
    """The value of a key as text; several parted by backslashes."""
    value: Any = element.value
    if value is None:
        return ""
    values = value if isinstance(value, list | tuple) or hasattr(value, "append") else [value]
    return "\\".join(str(each).strip(" \0") for each in values)


def normalised(vr: str, value: str) -> str:
    """A value to match, in the one form that the index knows.

    Parameters
    ----------
    value : str
        Not empty; several are parted by backslashes.

    Raises
    ------
    Invalid
        It cannot be a value of that VR.
    """
    if vr == "UI":
        return _uids(value)
    if len(value) > _MOST_CHARACTERS:
        raise Invalid("too long")
    if vr == "DA":
        return _range(_OLD_DATE.sub(r"\1\2\3", value), _DATE, "a date is YYYYMMDD, a range has one -")
    if vr == "TM":
        return _time(value)
    if vr in {"IS", "US"}:
        if _NUMBER.fullmatch(value) is None or abs(int(value)) > _LARGEST_NUMBER:
            raise Invalid("no number")
        return value
    return value


def _uids(value: str) -> str:
    uids = [uid.strip(" \0") for uid in value.split("\\")]
    if len(uids) > MOST_UIDS:
        raise Invalid(f"more than {MOST_UIDS} UIDs")
    if not all(map(is_tolerable_uid, uids)):
        raise Invalid("no UID, or no list of UIDs")
    return "\\".join(uids)


def _time(value: str) -> str:
    found = _range(value.replace(":", ""), _TIME, "a time is HHMMSS or its beginning")
    ends = [_FRACTION.sub(r"\1", end) for end in found.split("-")]
    # What begins with it: 1030 is any moment of that minute, and 103000 holds 103000.25.
    return "-".join(ends if len(ends) == 2 else ends * 2)


def _range(value: str, form: re.Pattern[str], what: str) -> str:
    ends = [end.strip() for end in value.split("-")]
    if len(ends) > 2 or not any(ends) or not all(form.fullmatch(end) for end in ends if end):
        raise Invalid(what)
    return "-".join(ends)
