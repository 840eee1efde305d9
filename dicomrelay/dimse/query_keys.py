"""Keys as people write them, to identifiers (PS3.4 Section C.2.2.2).

`PatientName=MUELLER*`, `0008,0060=CT`, `ScheduledProcedureStepSequence[0].Modality=CT`, or `StudyDate` to ask for it back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from pydicom import config
from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.tag import Tag

from dicomrelay.dimse.identifier import MAX_DEPTH
from dicomrelay.dimse.identifier_buffer import UTF_8
from dicomrelay.errors import ConfigurationError

_STEP: Final = re.compile(r"(?P<name>[^\[\].]+?)(\[(?P<index>[0-9]{1,2})\])?", re.ASCII)
_TAG: Final = re.compile(r"\(?([0-9A-Fa-f]{4}),?([0-9A-Fa-f]{4})\)?", re.ASCII)
_MAX_VALUE_CHARACTERS: Final = 16_384
_NUMBERS: Final = {"US": int, "SS": int, "UL": int, "SL": int, "UV": int, "SV": int, "FL": float, "FD": float}
_BYTES: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
# Single value and range matching (PS3.4 Section C.2.2.2.5), each end in the form of its VR (PS3.5 Section 6.2): a peer
# that is asked for another finds nothing and says nothing.
_FORMS: Final = {
    "DA": (
        re.compile(r"[0-9]{4}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])", re.ASCII),
        "a date is YYYYMMDD, a range 20260101-20261231, 20260101- or -20261231",
    ),
    "TM": (
        re.compile(r"([01][0-9]|2[0-3])([0-5][0-9]([0-5][0-9]|60)?(\.[0-9]{1,6})?)?", re.ASCII),
        "a time is HHMMSS or its beginning, a range 0700-1200, 0700- or -1200",
    ),
}
# A backslash is a character there, and parts no values (PS3.5 Section 6.4).
_ONE_TEXT: Final = frozenset({"LT", "ST", "UR", "UT"})


@dataclass(frozen=True, slots=True)
class Step:
    """One attribute on the way into an identifier; `index` is the item of a sequence, None for the attribute itself."""

    tag: int
    index: int | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """An attribute of an identifier, and what it must be; an empty value asks for the attribute back."""

    path: tuple[Step, ...]
    value: str = ""

    @property
    def name(self) -> str:
        """The path as a person would write it."""
        return ".".join(
            tag_name(step.tag) + ("" if step.index is None else f"[{step.index}]") for step in self.path
        )


def tag_name(tag: int) -> str:
    """The keyword of a tag, or the tag itself where the dictionary has none."""
    return keyword_for_tag(tag) or f"{tag >> 16:04X},{tag & 0xFFFF:04X}"


def parse_key(text: str) -> Key:
    """Read one key: path, and `=value` if it is to be matched.

    Raises
    ------
    ConfigurationError
        A name that the dictionary lacks, a path that is none; the message quotes the name and not the value.
    """
    name, _, value = text.partition("=")
    parts = name.strip().split(".")
    if len(parts) > MAX_DEPTH:
        raise ConfigurationError(f"key {name!r}: more than {MAX_DEPTH} sequences in one another")
    steps = []
    for place, part in enumerate(parts):
        found = _STEP.fullmatch(part.strip())
        if found is None:
            raise ConfigurationError(
                f"key {name!r}: write a keyword or a tag, and Sequence[0].Attribute for what is in a sequence"
            )
        tag = _tag(name, found["name"])
        is_last = place == len(parts) - 1
        if (not is_last or found["index"] is not None) and _vr(tag) != "SQ":
            raise ConfigurationError(f"key {name!r}: {tag_name(tag)} is no sequence")
        index = int(found["index"] or 0) if not is_last or found["index"] is not None else None
        steps.append(Step(tag, index))
    if len(value) > _MAX_VALUE_CHARACTERS:
        raise ConfigurationError(f"key {name!r}: a value of more than {_MAX_VALUE_CHARACTERS} characters")
    return Key(tuple(steps), value)


def build_identifier(keys: Iterable[Key]) -> Dataset:
    """The identifier of these keys; of two with one path the later wins.

    A value beyond ASCII goes as UTF-8, unless a key names the character set.

    Raises
    ------
    ConfigurationError
        A value that its attribute cannot have, or an item of a sequence whose neighbours before it are missing.
    """
    identifier = Dataset()
    is_ascii = True
    with config.disable_value_validation():
        for key in keys:
            _put(identifier, key)
            is_ascii = is_ascii and key.value.isascii()
    if not is_ascii and not identifier.get("SpecificCharacterSet"):
        identifier.SpecificCharacterSet = UTF_8
    return identifier


def _put(data_set: Dataset, key: Key) -> None:
    holder = data_set
    for step in key.path:
        if step.index is None:
            if step.tag in holder and _vr(step.tag) == "SQ":
                return  # asked for with what is inside, which is more
            holder[step.tag] = _element(key, step.tag)
            return
        if step.tag not in holder:
            holder[step.tag] = DataElement(step.tag, "SQ", DicomSequence())
        items = holder[step.tag].value
        if step.index > len(items):
            raise ConfigurationError(
                f"key {key.name!r}: name item {len(items)} of {tag_name(step.tag)} first"
            )
        if step.index == len(items):
            items.append(Dataset())
        holder = items[step.index]
    _require_empty(key)


def _element(key: Key, tag: int) -> DataElement:
    vr = _vr(tag)
    if vr == "SQ":
        _require_empty(key)
        return DataElement(tag, vr, DicomSequence())
    if key.value and vr in _BYTES:
        raise ConfigurationError(f"key {key.name!r}: {vr} holds bytes, which cannot be matched")
    try:
        return DataElement(tag, vr, _value(key, vr) if key.value else None)
    except (ValueError, ArithmeticError):
        raise ConfigurationError(f"key {key.name!r}: its value is no number ({vr})") from None


def _value(key: Key, vr: str) -> Any:
    values: list[Any] = [key.value] if vr in _ONE_TEXT else key.value.split("\\")
    if vr in _FORMS and not all(_is_of_form(vr, value) for value in values):
        raise ConfigurationError(f"key {key.name!r}: {_FORMS[vr][1]}")
    if vr in _NUMBERS:
        values = [_NUMBERS[vr](value) for value in values]
    elif vr == "AT":
        values = [_tag(key.name, value) for value in values]
    return values if len(values) > 1 else values[0]


def _is_of_form(vr: str, value: str) -> bool:
    form = _FORMS[vr][0]
    ends = value.split("-")
    return any(ends) and len(ends) <= 2 and all(form.fullmatch(end) for end in ends if end)


def _require_empty(key: Key) -> None:
    if key.value:
        raise ConfigurationError(f"key {key.name!r}: a sequence has no value; name an attribute in it")


def _tag(name: str, text: str) -> int:
    found = _TAG.fullmatch(text.strip())
    tag = int(found[1] + found[2], 16) if found else tag_for_keyword(text.strip())
    if tag is None:
        raise ConfigurationError(
            f"key {name!r}: {text!r} is no keyword of the data dictionary and no tag such as 0010,0020"
        )
    if tag >> 16 < 0x0008 or tag & 0xFFFF == 0 or tag >> 16 == 0xFFFE:
        raise ConfigurationError(f"key {name!r}: {tag_name(tag)} cannot be in an identifier")
    return tag


def _vr(tag: int) -> str:
    try:
        vr = str(dictionary_VR(Tag(tag)))
    except KeyError:
        return "LO"  # private, or newer than the dictionary: text is the best guess
    return vr.split(" or ", maxsplit=1)[0]
