"""What `dicomrelay status` says when not every service is ready."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from dicomrelay.runtime.not_ready import NotReady


def services_words(*, is_up: bool, not_ready: Sequence[NotReady], now_s: float | None = None) -> str:
    """What runs and what does not; `now_s` in seconds since the epoch."""
    if not is_up:
        return "not all services run: start `dicomrelay up`, or see its output"
    if not not_ready:
        return "`dicomrelay up` runs, and is starting or stopping its services"
    now_s = time.time() if now_s is None else now_s
    return "`dicomrelay up` runs; " + ", ".join(_words(each, now_s) for each in not_ready)


def services_step(home: Path, *, is_up: bool, not_ready: Sequence[NotReady]) -> str:
    """What to do about it."""
    if not is_up:
        return "next: start `dicomrelay up`, or see its output if it runs"
    ended = next((each for each in not_ready if each.again_at_s is not None), None)
    if ended is not None:
        return f"next: {home / 'logs' / ended.name}.log says why {ended.name} ended; it is started again by itself"
    return "next: wait until its services are ready"


def _words(service: NotReady, now_s: float) -> str:
    if service.again_at_s is None:
        return f"{service.name} is starting"
    wait_s = max(0, service.again_at_s - now_s)
    return f"{service.name} ended and is started again {f'in {wait_s:.0f} s' if wait_s >= 0.5 else 'now'}"
