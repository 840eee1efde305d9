"""Whether a value has the form of its VR (PS3.5 Section 6.2), as items are held to it. Pure; nothing said quotes a value."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from dicomrelay.dicom.uids import is_tolerable_uid

_TIME: Final = re.compile(r"([01][0-9]|2[0-3])([0-5][0-9](([0-5][0-9]|60)(\.[0-9]{1,6})?)?)?", re.ASCII)
_DATE: Final = re.compile(r"[0-9]{8}", re.ASCII)
_MOMENT: Final = re.compile(r"[0-9]{4}([0-9]{2}){0,5}(\.[0-9]{1,6})?([+-][0-9]{4})?", re.ASCII)
_AGE: Final = re.compile(r"[0-9]{3}[DWMY]", re.ASCII)
_CODE: Final = re.compile(r"[A-Z0-9 _]{0,16}", re.ASCII)
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,11}", re.ASCII)
_DECIMAL: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)
_CHARACTERS: Final = {"AE": 16, "LO": 64, "SH": 16, "LT": 10_240, "ST": 1024}
_LONGEST: Final = 65_536
# Half of what the length of a short VR can say: other character sets are longer than UTF-8.
_LONGEST_IN_ALL: Final = 32_000
_LONGEST_DS, _NAME_GROUPS, _LONGEST_GROUP = 16, 3, 64
# In these alone lines may be broken.
_LINES: Final = frozenset({"LT", "ST", "UT"})
_BREAKS: Final = frozenset("\r\n\t\f")
_BYTES: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_RANGES: Final = {
    "AT": (0, 2**32 - 1),
    "SL": (-(2**31), 2**31 - 1),
    "SS": (-(2**15), 2**15 - 1),
    "SV": (-(2**63), 2**63 - 1),
    "UL": (0, 2**32 - 1),
    "US": (0, 2**16 - 1),
    "UV": (0, 2**64 - 1),
}
# The largest of each; infinity and what is no number are no JSON.
_FLOATS: Final = {"FD": 1.7976931348623157e308, "FL": 3.4028234e38}


def fault_of(vr: str, values: Sequence[Any]) -> str:
    """What is wrong with the values of an element, as words; "" when nothing is.

    What passes can be written as an element, in any character set.
    """
    for value in values:
        words = _number_fault(vr, value) if vr in _NO_TEXTS else _text_fault(vr, str(value))
        if words:
            return words
    if (
        vr not in _NO_TEXTS
        and sum(len(str(each).encode("utf-8", "replace")) + 1 for each in values) > _LONGEST_IN_ALL
    ):
        return f"more than {_LONGEST_IN_ALL} bytes"
    return ""


def _number_fault(vr: str, value: Any) -> str:
    """Of what is no text: bytes, numbers, tags."""
    if vr in _BYTES:
        is_short = isinstance(value, bytes) and len(value) <= _LONGEST
        return "" if is_short else f"no bytes, or more than {_LONGEST}"
    if vr in _FLOATS:
        is_number = type(value) in (int, float) and abs(value) <= _FLOATS[vr]
    else:
        first, last = _RANGES[vr]
        is_number = isinstance(value, int) and not isinstance(value, bool) and first <= value <= last
    return "" if is_number else f"no value of {vr}"


def _text_fault(vr: str, text: str) -> str:
    if not text:
        return ""
    if len(text) > _LONGEST:
        return f"more than {_LONGEST} characters"
    if any(each < " " and not (vr in _LINES and each in _BREAKS) for each in text):
        return "control characters"
    if vr == "DA":
        return "" if _is_date(text) else "no date: YYYYMMDD"
    if vr == "UI":
        return "" if is_tolerable_uid(text) else "no UID"
    if vr == "PN":
        return _name_fault(text)
    if vr in _CHARACTERS:
        return _length_fault(vr, text)
    form = _FORMS.get(vr)
    return "" if form is None or form.fullmatch(text.strip()) else _WORDS.get(vr, f"no value of {vr}")


def _length_fault(vr: str, text: str) -> str:
    if vr == "AE" and not text.isascii():
        return "no AE title: characters that are not ASCII"
    most = _CHARACTERS[vr]
    return f"more than {most} characters ({vr})" if len(text) > most else ""


def _is_date(text: str) -> bool:
    if _DATE.fullmatch(text) is None:
        return False
    try:
        datetime.strptime(text, "%Y%m%d")  # noqa: DTZ007 - a date has no time zone
    except ValueError:
        return False
    return True


def _name_fault(text: str) -> str:
    groups = text.split("=")
    if len(groups) > _NAME_GROUPS or any(len(group) > _LONGEST_GROUP for group in groups):
        return "no person name: three groups of 64 characters"
    return "" if all(group.count("^") <= 4 for group in groups) else "no person name: five components"


_NO_TEXTS: Final = _BYTES | _RANGES.keys() | _FLOATS.keys()
_FORMS: Final = {
    "AS": _AGE,
    "CS": _CODE,
    "TM": _TIME,
    "DT": _MOMENT,
    "IS": _WHOLE,
    "DS": re.compile(rf"(?=.{{1,{_LONGEST_DS}}}$){_DECIMAL.pattern}", re.ASCII),
}
_WORDS: Final = {
    "CS": "no code: 16 of A to Z, 0 to 9, space and underscore",
    "TM": "no time: HHMM or HHMMSS",
}
