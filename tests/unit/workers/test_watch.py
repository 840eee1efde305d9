"""When a running transfer stops between two instances, and what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from dicomrelay.errors import ServiceUnavailable
from dicomrelay.ledger.handing_back import Signal
from dicomrelay.ledger.values import ClaimedTransfer
from tests.support.claims import claimed_of
from workers.lease import LeaseKeeper
from workers.watch import Watch

_CLAIMED = claimed_of(0, fence=1)


@dataclass
class _World:
    """What a watch is told, and what it did."""

    now: float = 0.0
    says: Signal = Signal.GO_ON
    is_away: bool = False
    is_open: bool = True
    is_stopping: bool = False
    somebody_else_gave_way: bool = False
    is_ours_no_more: bool = False
    asked: int = 0
    handed_back: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lease = LeaseKeeper(lambda: True, patience_s=60)
        self.watch = Watch(
            _CLAIMED,
            self.lease,
            signal=self._signal,
            give_way=self._give_way,
            hand_back=self._hand_back,
            is_open=lambda: self.is_open,
            is_stopping=lambda: self.is_stopping,
            clock=lambda: self.now,
        )

    def _signal(self, _: ClaimedTransfer) -> Signal:
        self.asked += 1
        if self.is_away:
            raise ServiceUnavailable("the ledger is away (test)")
        return self.says

    def _hand_back(self, _: ClaimedTransfer, why: str) -> bool:
        self.handed_back += [] if self.is_ours_no_more else [why]
        return not self.is_ours_no_more

    def _give_way(self, _: ClaimedTransfer) -> bool:
        self.handed_back += [] if self.somebody_else_gave_way else ["gives way"]
        return not self.somebody_else_gave_way


def test_the_ledger_is_asked_twice_a_second_at_most() -> None:
    """Before a thousand small instances too."""
    world = _World()
    for _ in range(1000):
        world.now += 0.01
        assert world.watch.goes_on()
    assert 15 <= world.asked <= 20


def test_it_gives_way_and_goes_on_when_another_did() -> None:
    """The ledger has the last word."""
    world = _World(says=Signal.GIVE_WAY, somebody_else_gave_way=True)
    world.now = 1
    assert not world.watch.goes_on()
    assert not world.watch.hands_back()
    assert world.watch.goes_on()

    world.somebody_else_gave_way = False
    world.now = 2
    assert not world.watch.goes_on()
    assert world.watch.hands_back()
    assert world.handed_back == ["gives way"]


def test_a_transfer_that_somebody_else_has_is_not_handed_back() -> None:
    """Its lease is lost, and nothing is written any more."""
    world = _World(says=Signal.LOST)
    world.now = 1
    assert not world.watch.goes_on()
    assert world.lease.lost
    assert not world.watch.why


def test_at_the_end_of_a_window_and_of_the_process_it_is_handed_back() -> None:
    """The end of the process does not wait for the half second."""
    ending = _World(is_stopping=True)
    assert not ending.watch.goes_on()
    assert ending.watch.hands_back()
    shut = _World(is_open=False)
    assert shut.watch.goes_on()
    shut.now = 1
    assert not shut.watch.goes_on()
    assert shut.watch.hands_back()
    assert (ending.handed_back, shut.handed_back) == (["the worker ends"], ["outside of the time windows"])


def test_a_ledger_that_is_away_for_a_moment_stops_nothing() -> None:
    """The lease has its own patience."""
    world = _World(is_away=True)
    world.now = 1
    assert world.watch.goes_on()


def test_what_is_ours_no_more_when_it_is_to_be_handed_back_was_not() -> None:
    """Somebody claimed it meanwhile: whoever ends does not say that it is ready, and sends no more of it."""
    world = _World(is_stopping=True, is_ours_no_more=True)
    assert not world.watch.goes_on()
    assert not world.watch.hands_back()
    assert world.lease.lost
