"""Values of the DICOM JSON model, held against their VR before anything is made of them (PS3.18 Section F.2). Pure.

What cannot be stored as it was sent is refused, with its instance: made into an element it would be rounded, cut in two at
a backslash, or left out, and the client would be told that it is stored.
"""

from __future__ import annotations

import base64
import math
import re
import struct
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from pydicom.valuerep import format_number_as_ds

# Value fields with a length of 16 bits (PS3.5 Section 7.1.2), of an even number of bytes.
_LONGEST_SHORT: Final = 65_534
_LONG: Final = frozenset({"SV", "UC", "UR", "UT", "UV"})
_WORD_BYTES: Final = {"OB": 1, "OD": 8, "OF": 4, "OL": 4, "OV": 8, "OW": 2, "UN": 1}
_WHOLE: Final = re.compile(r" *[+-]?[0-9]{1,20} *", re.ASCII)
_DECIMAL: Final = re.compile(r" *[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)? *", re.ASCII)
_TAG: Final = re.compile(r"[0-9A-Fa-f]{8}", re.ASCII)
_LONGEST_DS, _LONGEST_IS = 16, 12
_NAME_GROUPS: Final = frozenset({"Alphabetic", "Ideographic", "Phonetic"})


class NotStorable(Exception):
    """The words are for the client; they quote no value."""


def storable(tag: str, element: Mapping[str, Any]) -> dict[str, Any]:
    """An element as it will be stored: the same values, numbers in the form of their VR.

    Parameters
    ----------
    element : mapping
        Of any VR but SQ, with its `vr`.

    Raises
    ------
    NotStorable
        A value is not one of the VR, or would not be the same in it.
    """
    vr = element["vr"]
    if vr not in _WORD_BYTES and vr not in _MADE:
        raise NotStorable(f"{tag} has a VR that is none")
    if "InlineBinary" in element and ("Value" in element or vr not in _WORD_BYTES):
        raise NotStorable(f"{tag} has InlineBinary where {vr} has Value")
    try:
        if vr in _WORD_BYTES:
            _check_binary(vr, element)
            return dict(element)
        return _with_values(vr, element)
    except (ValueError, TypeError, OverflowError, struct.error):
        raise NotStorable(f"{tag} has a value that cannot be kept as {vr}") from None


def _check_binary(vr: str, element: Mapping[str, Any]) -> None:
    if element.get("Value"):
        raise ValueError
    inline = element.get("InlineBinary", "")
    # The example in PS3.18 Section F.4 has it in a list.
    (text,) = inline if isinstance(inline, list) else [inline]
    if not isinstance(text, str) or len(base64.b64decode(text, validate=True)) % _WORD_BYTES[vr]:
        raise ValueError


def _with_values(vr: str, element: Mapping[str, Any]) -> dict[str, Any]:
    make = _MADE[vr]
    values = element.get("Value", [])
    if not isinstance(values, list) or (len(values) > 1 and vr in _SINGLE):
        raise ValueError
    if values in ([], [None]):
        return {"vr": vr}
    if None in values and vr in _SIZES:
        raise ValueError
    made = [None if value is None else make(value) for value in values]
    size = len(made) - 1 + sum(map(_text_bytes, made))
    if (_SIZES[vr] * len(made) if vr in _SIZES else size) > _LONGEST_SHORT and vr not in _LONG:
        raise ValueError
    return {"vr": vr, "Value": made}


def _text_bytes(value: Any) -> int:
    if isinstance(value, dict):
        return sum(map(_text_bytes, value.values())) + len(value)
    return len(value.encode()) if isinstance(value, str) else 0


def _text(value: Any, *, encoding: str, separator: str = "\\") -> str:
    if not isinstance(value, str) or (separator and separator in value):
        raise ValueError
    value.encode(encoding)  # a lone surrogate is no character
    return value


def _name(value: Any) -> Any:
    if isinstance(value, str):  # as some write it, against PS3.18 Section F.2.2
        return _text(value, encoding="utf-8")
    if not isinstance(value, dict) or not value.keys() <= _NAME_GROUPS:
        raise ValueError
    for group in value.values():
        _text(_text(group, encoding="utf-8"), encoding="utf-8", separator="=")
    return value


def _integer(value: Any, *, low: int, high: int) -> int:
    if (isinstance(value, float) and value.is_integer()) or (
        isinstance(value, str) and _WHOLE.fullmatch(value)
    ):
        value = int(value)
    if type(value) is not int or not low <= value <= high:
        raise ValueError
    return value


def _integer_string(value: Any) -> str:
    if isinstance(value, str) and len(value) <= _LONGEST_IS and not value.strip(" "):
        return ""
    number = _integer(value, low=-(2**31), high=2**31 - 1)
    text = value if isinstance(value, str) else str(number)
    if len(text) > _LONGEST_IS:
        raise ValueError
    return text


def _decimal_string(value: Any) -> str:
    if isinstance(value, str):
        if len(value) > _LONGEST_DS or (value.strip(" ") and not _DECIMAL.fullmatch(value)):
            raise ValueError
        return value
    text = str(_number(value))
    if len(text) > _LONGEST_DS:
        text = format_number_as_ds(float(value))
    if float(text) != value:
        raise ValueError
    return text


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError
    return value


def _single(value: Any) -> float:
    struct.pack("<f", _number(value))  # OverflowError beyond its range
    return float(value)


def _double(value: Any) -> float:
    return float(_number(value))


def _attribute_tag(value: Any) -> str:
    if not isinstance(value, str) or not _TAG.fullmatch(value):
        raise ValueError
    return value


def _bits(count: int, *, signed: bool) -> Callable[[Any], int]:
    low, high = (-(2 ** (count - 1)), 2 ** (count - 1) - 1) if signed else (0, 2**count - 1)
    return partial(_integer, low=low, high=high)


_PLAIN: Final = partial(_text, encoding="ascii")
_MADE: Final[dict[str, Callable[[Any], Any]]] = {
    **dict.fromkeys(("AE", "AS", "CS", "DA", "DT", "TM", "UI"), _PLAIN),
    **dict.fromkeys(("LO", "SH", "UC"), partial(_text, encoding="utf-8")),
    **dict.fromkeys(("LT", "ST", "UT"), partial(_text, encoding="utf-8", separator="")),
    "UR": partial(_text, encoding="ascii", separator=""),
    "PN": _name,
    "AT": _attribute_tag,
    "IS": _integer_string,
    "DS": _decimal_string,
    "FL": _single,
    "FD": _double,
    "SS": _bits(16, signed=True),
    "US": _bits(16, signed=False),
    "SL": _bits(32, signed=True),
    "UL": _bits(32, signed=False),
    "SV": _bits(64, signed=True),
    "UV": _bits(64, signed=False),
}
# Of one value, in bytes.
_SIZES: Final = {"AT": 4, "FL": 4, "FD": 8, "SS": 2, "US": 2, "SL": 4, "UL": 4, "SV": 8, "UV": 8}
# No backslash divides these (PS3.5 Section 6.2).
_SINGLE: Final = frozenset({"LT", "ST", "UR", "UT"})
