"""How often an address may fail, and how many attempts it may have under way."""

from __future__ import annotations

import threading

import pytest

from scp_gateway.failure_limit import FailureLimit


def standing_still() -> float:
    return 1000.0


@pytest.mark.parametrize("failed", [False, True])
def test_an_attempt_that_could_be_one_too_many_waits_for_those_before_it(failed: bool) -> None:
    """It may go on when the one before has held, and not when it has failed."""
    limit, heard = FailureLimit(1, standing_still), []
    assert limit.begin("a")
    waiting = threading.Thread(target=lambda: heard.append(limit.begin("a")))
    waiting.start()
    waiting.join(0.05)
    assert waiting.is_alive()
    assert limit.begin("b")  # others do not wait
    limit.end("a", failed=failed)
    waiting.join(10)
    assert heard == [not failed]


def test_it_does_not_wait_for_ever() -> None:
    limit = FailureLimit(2, standing_still, patience_s=0.05)
    assert limit.begin("a")
    assert limit.begin("a")
    assert not limit.begin("a")


def test_a_crowd_of_addresses_costs_a_bounded_memory() -> None:
    """Of those that failed the oldest are forgotten; of those that did not nothing is kept."""
    limit = FailureLimit(1, standing_still)
    for number in range(5000):
        assert limit.begin(str(number))
        limit.end(str(number), failed=True)
    assert not limit.begin("4999")
    assert limit.begin("0")
    limit.end("0", failed=False)
    assert len(limit._failures) == 4096
    assert not limit._under_way
