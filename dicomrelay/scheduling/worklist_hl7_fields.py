"""Fields of HL7 v2 segments as texts and as DICOM's kinds of values. Pure.

`hl7` parses; what it gives for a field depends on how many separators there are in it, so that a part is looked for here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

_MOMENT: Final = re.compile(r"([0-9]{8})([0-9]{2,6}(?:\.[0-9]{1,6})?)?(?:[+-][0-9]{4})?", re.ASCII)
# PV1-15, PID-8 and priorities of TQ and TQ1, as IHE Radiology maps them (RAD TF-2 Appendix B).
SEXES: Final = {"M": "M", "F": "F", "O": "O", "A": "O"}
PRIORITIES: Final = {"S": "STAT", "A": "HIGH", "P": "HIGH", "C": "HIGH", "R": "ROUTINE", "T": "MEDIUM"}
_GROUPS: Final = {"": 0, "A": 0, "I": 1, "P": 2}


class Segment:
    """One segment of a message.

    Parameters
    ----------
    parsed : hl7.Segment
    unescape : callable
        Of its message.
    """

    def __init__(self, parsed: Sequence[Any], unescape: Callable[[str], str]) -> None:
        self._parsed = parsed
        self._unescape = unescape

    @property
    def name(self) -> str:
        return str(self._parsed[0])

    def repetitions(self, field: int) -> int:
        """How often a field is there."""
        found = self._parsed[field] if field < len(self._parsed) else ()
        return len(found)

    def text(self, field: int, component: int = 1, *, repetition: int = 1, part: int = 1) -> str:
        """A part of a field, all counted from 1; "" where there is none, and for `""`, which is HL7's null."""
        found: Any = self._parsed[field] if field < len(self._parsed) else ""
        for index in (repetition - 1, component - 1, part - 1):
            parts = [found] if isinstance(found, str) else found
            found = parts[index] if index < len(parts) else ""
        text = str(found)
        return "" if text in ("", '""') else self._unescape(text).strip()

    def words(self, field: int, component: int = 1, *, most: int = 64) -> str:
        """The same for what people read: one line, cut to what the attribute holds."""
        return " ".join(self.text(field, component).split()).replace("\\", "/")[:most].rstrip()


NOTHING: Final = Segment(("",), str)


def person_name(segment: Segment, field: int) -> str:
    """XPN as PN: each representation that is there is a group of the name."""
    groups = ["", "", ""]
    for repetition in range(1, segment.repetitions(field) + 1):
        place = _GROUPS.get(segment.text(field, 8, repetition=repetition).upper())
        if place is not None and not groups[place]:
            groups[place] = _components(segment, field, repetition, first=1)
    return "=".join(groups).rstrip("=")


def physician_name(segment: Segment, field: int) -> str:
    """XCN as PN: the number before the name is left out."""
    return _components(segment, field, 1, first=2)


def _components(segment: Segment, field: int, repetition: int, *, first: int) -> str:
    """Family, given, middle, suffix, prefix; PN has the prefix before the suffix."""
    family, given, middle, suffix, prefix = (
        segment.text(field, first + number, repetition=repetition).replace("^", " ").replace("=", " ")
        for number in range(5)
    )
    return f"{family}^{given}^{middle}^{prefix}^{suffix}".rstrip("^")


def date_and_time(text: str) -> tuple[str, str]:
    """TS as a date and a time, "" for what it does not say."""
    found = _MOMENT.fullmatch(text.strip())
    return (found[1], found[2] or "") if found else ("", "")


def code(segment: Segment, field: int, first: int, path: str) -> Iterator[tuple[str, str]]:
    """Three components of CE as a coded entry, if all are there and the code is short enough (PS3.3 Section 8)."""
    value, meaning, scheme = (segment.text(field, first + number) for number in range(3))
    if value and meaning and scheme and len(value) <= 16 and len(scheme) <= 16:
        yield f"{path}[0].CodeValue", value
        yield f"{path}[0].CodingSchemeDesignator", scheme
        yield f"{path}[0].CodeMeaning", segment.words(field, first + 1)
