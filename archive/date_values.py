"""Dates and times of data sets (PS3.5 Section 6.2, DA and TM): those of ACR-NEMA in today's form, and what is one at all."""

from __future__ import annotations

import re
from typing import Final

# PS3.5 Section 6.2: ACR-NEMA wrote YYYY.MM.DD and HH:MM:SS.frac.
_OLD_DATE: Final = re.compile(r"([0-9]{4})\.([0-9]{2})\.([0-9]{2})")
_OLD_TIME: Final = re.compile(r"([0-9]{2}):([0-9]{2})(?::([0-9]{2}(?:\.[0-9]{1,6})?))?")


def in_todays_form(vr: str, text: str) -> str:
    """A value of DA or TM without the dots or colons of ACR-NEMA; anything else, and any other VR, as it is.

    Examples
    --------
    >>> in_todays_form("DA", "1997.04.24"), in_todays_form("TM", "14:05:30.5"), in_todays_form("DA", "notadate")
    ('19970424', '140530.5', 'notadate')
    """
    if vr == "DA" and (found := _OLD_DATE.fullmatch(text)):
        return "".join(found.groups())
    if vr == "TM" and (found := _OLD_TIME.fullmatch(text)):
        return "".join(part or "" for part in found.groups())
    return text
