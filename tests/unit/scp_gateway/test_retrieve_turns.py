"""How many moves at once, where they may go, and how fast."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from dicomrelay.settings import Settings
from scp_gateway.retrieve.keys import RetrieveRefused
from scp_gateway.retrieve.pace import BookedPace
from scp_gateway.retrieve.port import MovePort
from scp_gateway.retrieve.targets import Targets
from scp_gateway.retrieve.turns import Turns


def test_turns_in_all_and_for_each_destination() -> None:
    """Who finds no place gets none, and the next that is given back."""
    turns = Turns(3)
    assert turns.take("a", 2, 0)
    assert turns.take("a", 2, 0)
    assert not turns.take("a", 2, 0)
    assert turns.take("b", 2, 0)
    assert not turns.take("b", 2, 0)
    assert sorted(turns) == ["a", "a", "b"]
    waiter = threading.Thread(target=turns.take, args=("a", 2, 10))
    waiter.start()
    turns.give("a")
    waiter.join(10)
    assert not waiter.is_alive()
    assert sorted(turns) == ["a", "a", "b"]


def _settings(home: Path, **more: object) -> Settings:
    pacs = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 11113, **more}
    other = {"name": "other", "ae_title": "pacs2", "host": "127.0.0.1", "port": 11114}
    return Settings(home=home, destinations=[pacs, other])


@pytest.mark.parametrize(
    ("title", "name"),
    [("PACS", "pacs"), (" PACS ", "pacs"), ("pacs2", "other"), ("OTHER", "other"), ("pacs", "pacs")],
)
def test_a_destination_by_its_ae_title_or_name(tmp_path: Path, title: str, name: str) -> None:
    """Titles are compared as they stand, names without regard to case."""
    found = Targets(_settings(tmp_path), MovePort()).find(title)
    assert (found.name, found.target.peer.remote.port) == (name, 11113 if name == "pacs" else 11114)


@pytest.mark.parametrize("title", ["", "NOBODY", "PACS@127.0.0.1:104"])
def test_nothing_but_the_settings_is_called(tmp_path: Path, title: str) -> None:
    """A801, in words."""
    with pytest.raises(RetrieveRefused, match=r"no ae_title of \[\[destinations\]\]") as refused:
        Targets(_settings(tmp_path), MovePort()).find(title)
    assert refused.value.status == 0xA801


def test_a_window_and_a_hold_are_told(tmp_path: Path) -> None:
    """Never gone by in silence; and a ledger that does not answer is no release."""
    settings = _settings(tmp_path, windows=["22:00-06:00"])
    shut = Targets(settings, MovePort(), minute=lambda: 12 * 60)
    with pytest.raises(RetrieveRefused, match="pacs is closed, ask again in 22:00-06:00") as refused:
        shut.find("PACS")
    assert refused.value.status == 0xA702
    assert Targets(settings, MovePort(), minute=lambda: 23 * 60).find("PACS").name == "pacs"
    asked: list[str] = []

    def held(name: str) -> bool | None:
        asked.append(name)
        return {"pacs": True, "other": None}[name]

    targets = Targets(_settings(tmp_path), MovePort(held=held))
    with pytest.raises(RetrieveRefused, match="pacs is held") as refused:
        targets.find("PACS")
    assert refused.value.status == 0xA702
    with pytest.raises(RetrieveRefused, match="ledger does not say"):
        targets.find("pacs2")
    assert asked == ["pacs", "other"]


def test_a_destination_whose_files_are_wrong_is_no_fault_of_the_peer(tmp_path: Path) -> None:
    """The words name no file; the log does."""
    settings = _settings(tmp_path, tls={"ca": str(tmp_path / "gone.pem")})
    with pytest.raises(RetrieveRefused, match="pacs cannot be called") as refused:
        Targets(settings, MovePort()).find("PACS")
    assert refused.value.status == 0xC000
    assert "gone.pem" not in str(refused.value)


class _Time:
    def __init__(self) -> None:
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


def test_a_line_with_a_limit_is_booked() -> None:
    """A tenth of a second's worth at once; the wait is what the ledger says."""
    time, booked = _Time(), list[int]()

    def book(count: int) -> int:
        booked.append(count)
        return 100 * (len(booked) - 1)

    pace = BookedPace(1000, share=2, book=book, keep_going=lambda: True, clock=time.clock, wait=time.wait)
    for _ in range(4):
        pace(50)
    assert booked == [100, 100]
    assert time.now == pytest.approx(0.1)
    pace(0)
    pace(700)
    assert booked == [100, 100, 700]
    time.now += 5
    pace(10)  # what was booked and not used is lost
    assert booked[-1] == 100


def test_a_line_with_a_limit_that_nobody_books() -> None:
    """Its share of the limit; and a move that is stopped waits no more."""
    time, goes_on = _Time(), [True]
    pace = BookedPace(
        1000, share=2, book=lambda _: None, keep_going=lambda: goes_on[0], clock=time.clock, wait=time.wait
    )
    pace(500)
    assert time.now == pytest.approx(1.0)
    goes_on[0] = False
    pace(500_000)
    assert time.now == pytest.approx(1.0)
