"""Ids of rows: opaque, ours, and in the order of their making, which keeps the indexes' new entries together."""

from __future__ import annotations

import itertools
import secrets
import time
from typing import Final

_COUNTER: Final = itertools.count()


def new_id() -> str:
    """32 hexadecimal digits: the time in milliseconds, a counter of this process, 48 random bits."""
    return f"{time.time_ns() // 1_000_000:012x}{next(_COUNTER) & 0xFFFFFFFF:08x}{secrets.token_hex(6)}"
