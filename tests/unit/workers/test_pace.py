"""The limit on bytes per second."""

from __future__ import annotations

from workers.pace import Pace


class _Time:
    def __init__(self) -> None:
        self.now = 100.0

    def clock(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


def _pace(limit: int | None, time: _Time, moved: list[int]) -> Pace:
    return Pace(limit, moved=lambda: moved.append(1), clock=time.clock, wait=time.wait)


def test_ten_times_the_limit_takes_ten_seconds() -> None:
    """However it is cut."""
    for part in (1, 10, 1000):
        time = _Time()
        pace = _pace(1000, time, [])
        for _ in range(10_000 // part):
            pace(part)

        assert round(time.now - 100.0, 6) == 10.0


def test_a_pause_earns_no_credit() -> None:
    """A line that rested is not asked for more than the limit afterwards."""
    time = _Time()
    pace = _pace(1000, time, [])
    time.now += 60
    pace(1000)
    pace(1000)

    assert time.now == 162.0


def test_without_a_limit_nothing_waits_and_progress_is_told() -> None:
    """The lease lives on progress."""
    time = _Time()
    moved: list[int] = []
    _pace(None, time, moved)(10**9)

    assert (time.now, moved) == (100.0, [1])
