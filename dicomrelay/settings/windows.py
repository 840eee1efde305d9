"""Times of the day between which something is allowed, written 22:00-06:00."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_FORM: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]|24):([0-5]\d)", re.ASCII)
_DAY: Final = 24 * 60


@dataclass(frozen=True, slots=True)
class Window:
    """From minute `begin` of the day to minute `end`, which is not in it; across midnight when `end` is not after `begin`."""

    begin: int
    end: int

    def holds(self, minute: int) -> bool:
        """Whether minute 0 to 1439 of the day lies in it."""
        if self.begin < self.end:
            return self.begin <= minute < self.end
        return minute >= self.begin or minute < self.end

    def __str__(self) -> str:
        return f"{self.begin // 60:02}:{self.begin % 60:02}-{self.end // 60:02}:{self.end % 60:02}"


def parse_window(text: str) -> Window:
    """The window that a text such as 22:00-06:00 means.

    Raises
    ------
    ValueError
        It is none, or empty.
    """
    found = _FORM.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no time window: say it as 22:00-06:00, from 00:00 to 24:00")
    hours = [int(part) for part in found.groups()]
    begin, end = hours[0] * 60 + hours[1], hours[2] * 60 + hours[3]
    if end > _DAY or begin == end:
        raise ValueError(f"{text!r} is no time window: it is empty, or ends after 24:00")
    return Window(begin, end)
