"""A C-MOVE is waited for as long as it responds or instances come, whatever it says."""

from __future__ import annotations

from workers.pull_fetch import Patience


class Scene:
    """A clock, a number of instances, and how often something was told to move."""

    def __init__(self) -> None:
        self.now = 0.0
        self.count = self.told = self.asked = 0
        self.patience = Patience(60, self._counted, self._moved, clock=lambda: self.now)

    def _counted(self) -> int:
        self.asked += 1
        return self.count

    def _moved(self) -> None:
        self.told += 1

    def after(self, seconds: float) -> bool:
        """Whether it is over so much later; it is asked each second."""
        over = False
        for _ in range(round(seconds)):
            self.now += 1
            over = self.patience.is_over()
        return over


def test_instances_that_come_are_progress_without_any_response() -> None:
    """Many a source says nothing before the end."""
    scene = Scene()
    for _ in range(10):
        scene.count += 1
        assert not scene.after(50)
    assert scene.told == 10
    assert not scene.after(10)
    assert scene.after(60)


def test_responses_are_progress_and_cost_no_count() -> None:
    """The ledger is asked in silence only, and every five seconds."""
    scene = Scene()
    for _ in range(100):
        scene.patience.moved()
        assert not scene.after(1)
    assert scene.asked == 1
    assert not scene.after(20)
    assert scene.asked == 5


def test_silence_ends_it() -> None:
    """After the time for a response."""
    scene = Scene()
    assert not scene.after(59)
    assert scene.after(1)
    assert scene.told == 0
