"""How a key of VR DT is matched: by what it means, with the offset from UTC that it or the value has. Pure.

PS3.4 Sections C.2.2.2.1.3 and C.2.2.2.5.3: a hyphen makes a range, so that a single value has no negative offset.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from dicomrelay.dicom.query_values import Invalid

_MOMENT: Final = r"[0-9]{4}(?:[0-9]{2}){0,5}(?:\.[0-9]{1,6})?"
_VALUE: Final = re.compile(rf"({_MOMENT})([+-][0-9]{{4}})?", re.ASCII)
_SINGLE: Final = re.compile(rf"({_MOMENT})([+][0-9]{{4}})?", re.ASCII)
_RANGE: Final = re.compile(
    rf"(?:({_MOMENT})([+-][0-9]{{4}})?)?\s*-\s*(?:({_MOMENT})([+-][0-9]{{4}})?)?", re.ASCII
)
_FIRST, _LAST = "00000101000000.000000", "99991231235959.999999"
_WITHOUT_FRACTION: Final = 14


@dataclass(frozen=True, slots=True)
class _Moment:
    """Attributes
    ----------
    local : str
        To its last digit.
    utc : str
        The same in UTC; "" for a moment without an offset.
    """

    local: str
    utc: str

    @classmethod
    def of(cls, text: str, offset: str | None, rest: str) -> _Moment:
        local = text + rest[len(text) :]
        return cls(local, _utc(local, offset) if offset else "")

    def is_before(self, other: _Moment) -> bool:
        """Or at the same time. Where one does not say how far from UTC it is, both are taken for local."""
        if self.utc and other.utc:
            return self.utc <= other.utc
        return self.local <= other.local


def date_time_test(text: str) -> Callable[[Sequence[Any]], bool]:
    """What a key asks of the values of an attribute. Raises Invalid for what is neither a date and time nor a range."""
    text = text.strip()
    single, both = _SINGLE.fullmatch(text), _RANGE.fullmatch(text)
    if single is not None:
        first, first_offset, last, last_offset = single[1], single[2], single[1], single[2]
    elif both is not None and (both[1] or both[3]):
        first, first_offset, last, last_offset = both[1], both[2], both[3], both[4]
    else:
        raise Invalid(
            "a date and time is YYYYMMDDHHMMSS or its beginning, with an offset or not; a range has a -"
        )
    begin = _Moment.of(first, first_offset, _FIRST) if first else None
    end = _Moment.of(last, last_offset, _LAST) if last else None

    def fits(values: Sequence[Any]) -> bool:
        for each in values:
            found = _VALUE.fullmatch(str(each).strip())
            if found is None:
                continue
            moment = _Moment.of(found[1], found[2], _FIRST)
            if (begin is None or begin.is_before(moment)) and (end is None or moment.is_before(end)):
                return True
        return False

    return fits


def _utc(local: str, offset: str) -> str:
    """The same moment in UTC; what no calendar has stays as it is."""
    year, month, day, hour, minute, second = (
        int(local[begin:end]) for begin, end in ((0, 4), (4, 6), (6, 8), (8, 10), (10, 12), (12, 14))
    )
    shift = timedelta(hours=int(offset[1:3]), minutes=int(offset[3:]))
    try:
        day = min(day, monthrange(year, month)[1])  # a month to its end has 31 days
        moment = datetime(year, month, day, hour, minute, min(second, 59))  # noqa: DTZ001 - its offset stands beside it
        moment = moment + shift if offset[0] == "-" else moment - shift
    except (ValueError, OverflowError):
        return local
    return f"{moment:%Y%m%d%H%M%S}".rjust(_WITHOUT_FRACTION, "0") + local[_WITHOUT_FRACTION:]
