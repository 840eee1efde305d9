"""When a destination counts as much slower than it was."""

from __future__ import annotations

from workers.speeds import Speeds


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def _slower(speeds: Speeds, each_s: float, *, answers: int = 10, each_bytes: int = 500_000) -> bool:
    return speeds.is_much_slower(
        "pacs", answers=answers, sent_bytes=answers * each_bytes, seconds=answers * each_s
    )


def test_four_times_the_quickest_and_a_quarter_of_a_second() -> None:
    """Quick answers that become a little less quick are no reason."""
    speeds = Speeds()
    assert [_slower(speeds, each) for each in (0.1, 0.02, 0.1, 0.2, 0.24, 0.3)] == [False] * 5 + [True]


def test_a_larger_instance_is_not_a_slower_destination() -> None:
    """Nor do three answers say anything."""
    speeds = Speeds()
    assert not _slower(speeds, 0.02)
    assert not _slower(speeds, 3, each_bytes=80_000_000)
    assert not _slower(speeds, 3, answers=3)
    assert _slower(speeds, 3)


def test_what_was_quick_an_hour_ago_counts_no_more() -> None:
    """It may be a slower machine now, for good."""
    clock = _Clock()
    speeds = Speeds(clock=clock)
    assert not _slower(speeds, 0.02)
    clock.now = 3600
    assert not _slower(speeds, 1)
    assert not _slower(speeds, 2)
    assert _slower(speeds, 5)
