"""Work that takes its time: what is said to those who cannot wait for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import closing

import pytest

from streamer.answers import HttpError
from streamer.making import Making


def in_a_coroutine(making: Making, work: Callable[[], int]) -> int:
    return asyncio.run(making.made(work))


@pytest.mark.parametrize("made", [in_a_coroutine, Making.waited])
def test_who_cannot_wait_is_told_what_for(made: Callable[[Making, Callable[[], int]], int]) -> None:
    """503: its own work takes so long, or that of others before it, or there are too many of them."""
    going_on = threading.Event()
    with closing(Making(1, waiting=1, patience_s=0.05)) as making:
        try:
            for words in ("not done after 0 s", "too many pictures"):
                with pytest.raises(HttpError, match=words) as refused:
                    made(making, lambda: int(going_on.wait(20)))
                assert refused.value.status == 503
                assert dict(refused.value.headers)[b"retry-after"] == b"10"
        finally:
            going_on.set()
    with closing(Making(1, waiting=0)) as making:
        assert made(making, lambda: 7) == 7
