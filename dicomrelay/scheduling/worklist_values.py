"""Whether a value has the form of its VR (PS3.5 Section 6.2), as items are held to it. Pure; nothing said quotes a value."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from dicomrelay.dicom.uids import is_tolerable_uid

_TIME: Final = re.compile(r"([01][0-9]|2[0-3])([0-5][0-9]([0-5][0-9]|60)?)?", re.ASCII)
_FRACTION: Final = re.compile(r"([01][0-9]|2[0-3])[0-5][0-9]([0-5][0-9]|60)\.[0-9]{1,6}", re.ASCII)
_DATE: Final = re.compile(r"[0-9]{8}", re.ASCII)
_MOMENT: Final = re.compile(r"[0-9]{4}([0-9]{2}){0,5}(\.[0-9]{1,6})?([+-][0-9]{4})?", re.ASCII)
_AGE: Final = re.compile(r"[0-9]{3}[DWMY]", re.ASCII)
_CODE: Final = re.compile(r"[A-Z0-9 _]{0,16}", re.ASCII)
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,11}", re.ASCII)
_DECIMAL: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)
_CHARACTERS: Final = {"AE": 16, "LO": 64, "SH": 16, "LT": 10_240, "ST": 1024}
_LONGEST: Final = 65_536
_LONGEST_DS, _NAME_GROUPS, _LONGEST_GROUP = 16, 3, 64
# In these alone lines may be broken.
_LINES: Final = frozenset({"LT", "ST", "UT"})
_BREAKS: Final = frozenset("\r\n\t\f")
_BYTES: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})


def fault_of(vr: str, values: Sequence[Any]) -> str:
    """What is wrong with the values of an element, as words; "" when nothing is."""
    for value in values:
        words = _fault(vr, value)
        if words:
            return words
    return ""


def _fault(vr: str, value: Any) -> str:  # noqa: PLR0911 - one for each form
    if vr in _BYTES:
        return "" if len(value) <= _LONGEST else f"more than {_LONGEST} bytes"
    text = str(value)
    if not text:
        return ""
    if len(text) > _LONGEST:
        return f"more than {_LONGEST} characters"
    if any(each < " " and not (vr in _LINES and each in _BREAKS) for each in text):
        return "control characters"
    if vr == "DA":
        return "" if _is_date(text) else "no date: YYYYMMDD"
    if vr == "TM":
        return "" if _TIME.fullmatch(text) or _FRACTION.fullmatch(text) else "no time: HHMM or HHMMSS"
    if vr == "UI":
        return "" if is_tolerable_uid(text) else "no UID"
    if vr == "PN":
        return _name_fault(text)
    if vr == "CS":
        return "" if _CODE.fullmatch(text) else "no code: 16 of A to Z, 0 to 9, space and underscore"
    if vr == "AE" and not text.isascii():
        return "no AE title: characters that are not ASCII"
    if vr in _CHARACTERS:
        most = _CHARACTERS[vr]
        return f"more than {most} characters ({vr})" if len(text) > most else ""
    form = _FORMS.get(vr)
    return "" if form is None or form.fullmatch(text.strip()) else f"no value of {vr}"


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


_FORMS: Final = {
    "AS": _AGE,
    "DT": _MOMENT,
    "IS": _WHOLE,
    "DS": re.compile(rf"(?=.{{1,{_LONGEST_DS}}}$){_DECIMAL.pattern}", re.ASCII),
}
