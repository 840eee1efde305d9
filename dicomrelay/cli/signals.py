"""What SIGINT and SIGTERM do to a command."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Final

_STANDARD_ERROR: Final = 2


def stop_on_signals() -> threading.Event:
    """An event that SIGINT and SIGTERM set."""
    stop = threading.Event()

    def set_it(*_: object) -> None:
        # From a thread: the handler may have interrupted this very event's wait, whose lock is not reentrant.
        threading.Thread(target=stop.set).start()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, set_it)
    return stop


def cancel_on_signals(*, say: str = "") -> Callable[[], bool]:
    """Whether SIGINT or SIGTERM has come once, which asks for C-CANCEL; the second one is a KeyboardInterrupt.

    Parameters
    ----------
    say : str
        A line for standard error at the first one.
    """
    came: list[int] = []

    def note(number: int, _frame: object) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)
        if say:
            # Not by print: the handler may have interrupted that very stream.
            os.write(_STANDARD_ERROR, f"\n{say}\n".encode())

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, note)
    return lambda: bool(came)
