"""What is put off is told of once and tried again when its time has come."""

from __future__ import annotations

from workers.put_off import PutOff


def test_it_is_told_once_and_tried_again_when_its_time_has_come() -> None:
    now = [100.0]
    later = PutOff(30, clock=lambda: now[0])
    assert later.put_off("a")
    assert (later.is_put_off("a"), later.is_put_off("b"), later.waiting()) == (True, False, {"a"})
    now[0] += 30
    assert (later.is_put_off("a"), later.waiting()) == (False, set())
    assert not later.put_off("a")
    later.done("a")
    assert (later.is_put_off("a"), later.put_off("a")) == (False, True)
