"""Dates and times as they are asked for, looked at before the index is asked."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Final

from dicomrelay.errors import ConfigurationError

_DATE: Final = re.compile(r"[0-9]{8}")
_ISO_DATE: Final = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_HOW: Final = "say YYYYMMDD, or a range: 20240101-20240131, 20240101- or -20240131"


def date_range(option: str, text: str) -> str:
    """A date or a range of dates, in the form of the standard (PS3.4 Section C.2.2.2.5).

    Dates may have dashes, as in 2024-01-31; a range of such has two dots between its ends, or a dash.

    Raises
    ------
    ConfigurationError
        It is neither; the message names the option and what is wrong.
    """
    plain = _ISO_DATE.sub(r"\1\2\3", text.strip()).replace("..", "-")
    first, dash, last = (part.strip() for part in plain.partition("-"))
    if "*" in plain or "?" in plain:
        raise ConfigurationError(f"{option} {text!r}: a date takes no wildcards: {_HOW}")
    if not dash:
        return _date(option, text, first)
    ends = [_date(option, text, end) if end else "" for end in (first, last)]
    if not any(ends):
        raise ConfigurationError(f"{option} {text!r}: the range has no end at all: {_HOW}")
    if all(ends) and ends[0] > ends[1]:
        raise ConfigurationError(f"{option} {text!r}: the range ends before it begins")
    return "-".join(ends)


def _date(option: str, whole: str, text: str) -> str:
    if not _DATE.fullmatch(text):
        raise ConfigurationError(f"{option} {whole!r}: {text!r} is no date: {_HOW}")
    try:
        date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        raise ConfigurationError(f"{option} {whole!r}: there is no day {text}: {_HOW}") from None
    return text


def shown_date(text: str) -> str:
    """20240131 as 2024-01-31; anything else as it is."""
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if _DATE.fullmatch(text) else text


def shown_time(when_ms: int) -> str:
    """Milliseconds since the epoch as date and time of this machine's zone."""
    return datetime.fromtimestamp(when_ms / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M")
