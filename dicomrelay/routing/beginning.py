"""When what a rule sends may begin: after its delay, within its windows. Local time. No I/O."""

from __future__ import annotations

import time
from collections.abc import Sequence

from dicomrelay.settings.windows import Window

_TWO_DAYS = 2


def begins_at(at_ms: int, delay_s: float, windows: Sequence[Window]) -> int:
    """Epoch milliseconds of the beginning of what is decided at `at_ms`; 0 for at once.

    A window that is open holds at once; else the next one that opens, by the local clock of that day, also where summer
    time begins or ends between.
    """
    begin_ms = at_ms + round(1000 * delay_s)
    if windows:
        local = time.localtime(begin_ms / 1000)
        if not any(window.holds(local.tm_hour * 60 + local.tm_min) for window in windows):
            begin_ms = min(_opens(local, begin_ms, window) for window in windows)
    return 0 if begin_ms <= at_ms else begin_ms


def _opens(local: time.struct_time, after_ms: int, window: Window) -> int:
    for days in range(_TWO_DAYS):
        # mktime puts days over the end of a month where they belong; -1: it finds out about summer time.
        opens = (
            local.tm_year,
            local.tm_mon,
            local.tm_mday + days,
            window.begin // 60,
            window.begin % 60,
            0,
            0,
            0,
            -1,
        )
        opens_ms = round(1000 * time.mktime(opens))
        if opens_ms > after_ms:
            return opens_ms
    return after_ms
