"""What a profile of [[edits]] may change, and to what."""

from __future__ import annotations

import re
import warnings
from typing import Final

_NUMBERS: Final = re.compile(r"\(?([0-9A-Fa-f]{4}),?([0-9A-Fa-f]{4})\)?")
# Who an instance is: only the key of a de-identification gives it another name, and then to all that refer to it.
_IDENTITY: Final = {0x00080016: "SOP Class UID", 0x00080018: "SOP Instance UID"} | {
    0x0020000D: "Study Instance UID",
    0x0020000E: "Series Instance UID",
}
_CHARACTER_SET: Final = 0x00080005
_TEXT: Final = frozenset("AE AS CS DA DS DT IS LO LT PN SH ST TM UC UI UR UT".split())  # noqa: SIM905


def attribute_tag(name: str) -> int:
    """The tag that a keyword of PS3.6, or a tag in digits, means.

    Raises
    ------
    ValueError
        There is no such keyword.
    """
    from pydicom.datadict import tag_for_keyword  # noqa: PLC0415 - a tenth of a second, for those alone who have edits

    numbers = _NUMBERS.fullmatch(name)
    if numbers is not None:
        return int(numbers[1] + numbers[2], 16)
    tag = tag_for_keyword(name)
    if tag is None:
        raise ValueError(
            f"there is no attribute {name!r} in PS3.6: write its keyword, such as PatientID, or its tag"
        )
    return tag


def refuse_target(name: str, *, removes: bool = False) -> None:
    """Stop what a profile may not change.

    Parameters
    ----------
    removes : bool
        Whether it is to be left out, which needs no value that fits.

    Raises
    ------
    ValueError
        It says what and why.
    """
    tag = attribute_tag(name)
    group = tag >> 16
    if group < 8:
        raise ValueError(f"{name}: group {group:04X} is not of the data set")
    if tag in _IDENTITY:
        raise ValueError(f"{name}: {_IDENTITY[tag]} says which instance it is; deidentify maps it")
    if tag == _CHARACTER_SET:
        raise ValueError(f"{name}: it says how all text is to be read")
    if group == 0x7FE0 or 0x00280002 <= tag <= 0x00280107:
        raise ValueError(f"{name}: it belongs to the pixels, which nobody may change")
    if not removes:
        vr = _vr(tag)
        if vr not in _TEXT:
            raise ValueError(f"{name}: its VR is {vr or 'not known'}; what can be set is text")


def refuse_source(name: str) -> None:
    """Stop an attribute whose value cannot be copied into another, as it is no text.

    Raises
    ------
    ValueError
        It says what it is.
    """
    vr = _vr(attribute_tag(name))
    if vr and vr not in _TEXT:
        raise ValueError(f"{name}: its VR is {vr}; what can be copied is text")


def refuse_value(name: str, value: str) -> None:
    """Stop a value that the VR of its attribute does not allow.

    Raises
    ------
    ValueError
        It says what is wrong.
    """
    from pydicom.config import RAISE  # noqa: PLC0415 - as in attribute_tag
    from pydicom.valuerep import validate_value  # noqa: PLC0415

    vr = _vr(attribute_tag(name))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for each in value.split("\\"):
                validate_value(vr, each, RAISE)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None


def _vr(tag: int) -> str:
    from pydicom.datadict import dictionary_VR  # noqa: PLC0415 - as in attribute_tag

    try:
        return dictionary_VR(tag)
    except KeyError:
        return ""
