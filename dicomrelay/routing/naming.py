"""Attributes of rules: their tags, their value representations, and which of them may be stored. No I/O.

pydicom's dictionary (PS3.6) is asked only where a rule names an attribute.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

# What is not about a patient whatever it holds: code strings, numbers and UIDs of these groups.
_TECHNICAL_GROUPS: Final = frozenset({0x0008, 0x0018, 0x0020, 0x0028, 0x0054, 0x2050})
_TECHNICAL_VRS: Final = frozenset(
    "CS DS IS FD FL SL SS SV UL US UV UI".split()  # noqa: SIM905
)
# Manufacturer, Manufacturer's Model Name.
_TECHNICAL: Final = frozenset({0x00080070, 0x00081090})
_NOT_ASKED: Final = frozenset({"SQ", "OB", "OW", "OD", "OF", "OL", "OV", "UN", "OB or OW"})
_PIXEL_GROUP: Final = 0x7FE0
MAX_STORED: Final = 64


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute that a rule asks for; `name` is as people know it, `vr` "" for a private one."""

    tag: int
    name: str
    vr: str

    @property
    def may_be_stored(self) -> bool:
        """Whether its values may stand in the ledger: nothing of a patient, no free text, nothing private."""
        group = self.tag >> 16
        technical = group in _TECHNICAL_GROUPS and self.vr in _TECHNICAL_VRS
        return technical or self.tag in _TECHNICAL


@lru_cache(maxsize=1024)
def attribute(text: str) -> Attribute:
    """The attribute of a keyword or of a tag such as 0018,0015.

    Raises
    ------
    ValueError
        There is none, or its values cannot be compared with anything.
    """
    from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword  # noqa: PLC0415

    if text[:1].isalpha() and "," not in text and not _is_hexadecimal(text):
        tag = tag_for_keyword(text)
        if tag is None:
            raise ValueError(f"PS3.6 has no attribute with the keyword {text!r}; a tag is written 0018,0015")
    else:
        tag = int(text.strip("()").replace(",", ""), 16)
    group = tag >> 16
    if group >= _PIXEL_GROUP or group < 0x0008:
        raise ValueError(
            f"{text} is not read: rules ask for what stands from group 0008 on before Pixel Data"
        )
    try:
        vr = dictionary_VR(tag)
    except KeyError:
        if group % 2 == 0:
            raise ValueError(f"PS3.6 has no attribute {text}") from None
        vr = ""
    if vr in _NOT_ASKED:
        raise ValueError(
            f"{text} is of VR {vr}: rules ask for single values, not for sequences or binary data"
        )
    name = keyword_for_tag(tag) or f"({group:04X},{tag & 0xFFFF:04X})"
    # Where the dictionary leaves a choice, both are numbers.
    return Attribute(tag, name, vr.partition(" or ")[0])


def _is_hexadecimal(text: str) -> bool:
    return len(text) == 8 and all(each in "0123456789abcdefABCDEF" for each in text)
