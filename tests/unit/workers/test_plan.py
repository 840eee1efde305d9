"""The batches of an attempt: whatever the peer cannot stand, the rest is delivered, and every attempt ends."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from dicomrelay.ledger.values import InstanceFacts, PendingDelivery
from workers.plan import Plan


def _pending(instance_id: str, *, suspect: bool = False) -> PendingDelivery:
    return PendingDelivery(
        InstanceFacts(instance_id, *[""] * 9, data_set_offset=0, data_set_bytes=1, archive_path="", source_path="",
                      released=False),
        attempts=int(suspect),
        suspect=suspect,
    )  # fmt: skip


@dataclass
class _Transfer:
    """What the ledger knows of a transfer, and a peer that aborts as soon as it sees a poison, window wide open."""

    left: dict[str, int]  # to attempts
    poisons: set[str]
    window: int
    suspects: set[str] = field(default_factory=set)
    delivered: set[str] = field(default_factory=set)

    def attempt(self) -> int:
        """One attempt, as the workers make it; how many associations died."""
        order = sorted(self.left, key=lambda each: (self.left[each], each))
        plan = Plan([_pending(each, suspect=each in self.suspects) for each in order])
        deaths = 0
        while batch := plan.next_batch():
            assert not set(batch) & self.delivered
            bad = next((index for index, each in enumerate(batch) if each in self.poisons), len(batch))
            for each in batch[:bad]:
                plan.answered(each)
                del self.left[each]
                self.suspects.discard(each)
                self.delivered.add(each)
            if bad == len(batch):
                plan.sent(batch)
                continue
            deaths += 1
            under_way = batch[bad : bad + self.window]
            plan.died(under_way)
            for each in under_way:
                self.left[each] += 1
                self.suspects.add(each)
        return deaths


_NAMES = [f"{number:03}" for number in range(40)]


@given(st.sets(st.sampled_from(_NAMES)), st.integers(1, 20), st.integers(1, 40))
def test_all_but_the_poison_is_delivered(poisons: set[str], window: int, count: int) -> None:
    """In the first attempt when poisons come alone; and always before a poison was tried much more than once a round."""
    names = _NAMES[:count]
    transfer = _Transfer(dict.fromkeys(names, 0), poisons & set(names), window)
    for _ in range(2 * len(transfer.poisons) + 2):
        assert transfer.attempt() <= 2 * len(names)
    assert transfer.delivered == set(names) - poisons


@given(st.sampled_from(_NAMES), st.integers(1, 20))
def test_one_poison_costs_the_others_no_attempt(poison: str, window: int) -> None:
    """Two associations more at most, and it alone is left."""
    transfer = _Transfer(dict.fromkeys(_NAMES, 0), {poison}, window)
    assert transfer.attempt() <= 2
    assert set(transfer.left) == {poison}


def test_three_deaths_in_a_row_are_enough() -> None:
    """A peer that stands nothing at all is left alone until the next attempt."""
    transfer = _Transfer(dict.fromkeys(_NAMES, 0), set(_NAMES), 1)
    assert transfer.attempt() == 3
    assert sum(transfer.left.values()) == 3


def test_what_was_alone_under_way_is_not_tried_twice_in_an_attempt() -> None:
    """It has had its try."""
    plan = Plan([_pending("a")])
    assert plan.next_batch() == ["a"]
    plan.died(["a"])
    assert plan.next_batch() == []


def test_a_suspect_goes_alone_and_last() -> None:
    """Whatever its place was."""
    plan = Plan([_pending("a", suspect=True), _pending("b"), _pending("c")])
    assert plan.next_batch() == ["b", "c"]
    plan.answered("b")
    plan.answered("c")
    assert plan.next_batch() == ["a"]
