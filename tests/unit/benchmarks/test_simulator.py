"""The simulator of the queues: true to what was measured, the same every time, and it loses nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.simulator import __main__ as command
from benchmarks.simulator.measured import CORES, Figures, costs, pixel_bytes
from benchmarks.simulator.plans import CLINIC, HOSPITAL, NIGHT, STEP_S, busiest_second, limits
from benchmarks.simulator.queues import Queue, simulated
from benchmarks.simulator.report import figures_of, page
from benchmarks.simulator.site import DAY_S, HOUR_S, WORKING_DAY, Costs, Outage, Site, Target


@cache
def figures() -> Figures:
    return Figures.read()


@pytest.mark.parametrize(("associations", "within"), [(1, 0.03), (2, 0.05), (4, 0.05), (8, 0.01)])
def test_the_queues_say_what_was_measured_of_a_slow_destination(associations: int, within: float) -> None:
    """What lies between two transfers comes of the eight; one, two and four are none of the assumptions."""
    measured = figures().each_second(
        "slow-destination", "small", f"{associations} association{'s' if associations > 1 else ''}"
    )
    site = Site(
        "slow", 500 * DAY_S, pixel_bytes("small"), (Target("slow", 1.0, associations, answer_s=0.02),), 64, 64,
        ledger_writers=64, spool_bytes=1e18, burst=1.0, days=1, profile=(1 / 24,) * 24,
    )  # fmt: skip
    found = simulated(site, costs(figures()), step_s=60)

    assert found.delivered / DAY_S == pytest.approx(measured, rel=within)


@pytest.mark.parametrize("load", ["small", "ct"])
def test_a_day_at_full_load_comes_to_the_speed_of_the_pipeline(load: str) -> None:
    """As much as the two cores took, and no more: a fifth above it a queue is left."""
    found, size = costs(figures()), pixel_bytes(load)
    whole = figures().each_second("pipeline", load, "storescu → dicomrelay → storescp")
    share = Costs.of(found.receive, size) * whole  # of the two cores, for the gateway
    site = Site(
        "measured", whole * DAY_S, size, (Target("sink", 1.0, 64, 0.0, 1e12),), gateway_cores=share,
        worker_cores=CORES - share, ledger_writers=10, spool_bytes=1e18, burst=1.0, days=1, profile=(1 / 24,) * 24,
    )  # fmt: skip

    assert simulated(replace(site, a_day=site.a_day * 0.98), found, step_s=60).waiting == pytest.approx(
        0, abs=1
    )
    above = simulated(replace(site, a_day=site.a_day * 1.2, gateway_cores=2), found, step_s=60)
    assert above.waiting > 0.1 * above.arrived
    assert above.busiest["workers"] == pytest.approx(1)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    a_day=st.floats(1e3, 5e7),
    gateway=st.floats(0.01, 8),
    workers=st.floats(0.01, 8),
    spool=st.floats(1e9, 1e13),
    away=st.floats(0, 24),
    share=st.floats(0.1, 1),
)
def test_what_arrived_is_refused_or_somewhere(
    a_day: float, gateway: float, workers: float, spool: float, away: float, share: float
) -> None:
    """Nothing is lost and nothing is made, whatever there is too little of; and it is the same every time."""
    target = Target("pacs", share, outages=(Outage(6 * HOUR_S, (6 + away) * HOUR_S),))
    site = Site("any", a_day, 525e3, (target,), gateway, workers, spool_bytes=spool, days=1)
    once, again = (simulated(site, costs(figures()), step_s=720) for _ in range(2))

    assert once == again
    accepted = once.arrived - once.refused
    assert once.arrived == pytest.approx(a_day)
    assert once.archived <= accepted * (1 + 1e-6)
    assert once.delivered <= accepted * share * (1 + 1e-6)
    assert once.spool_most_bytes <= min(spool * (1 + share), accepted * 525e3) + 1e6
    assert all(0 <= each <= 1 + 1e-9 for each in once.busiest.values())
    if once.waiting == pytest.approx(0, abs=1e-3):
        assert once.archived == pytest.approx(accepted)
        assert once.delivered == pytest.approx(accepted * share)


def test_one_that_is_away_costs_the_others_nothing() -> None:
    """Invariant 8, of the model: its backlog is its own, and it gets all of it in the end."""
    few = replace(NIGHT, targets=NIGHT.targets[:3])
    outcome = simulated(few, costs(figures()), step_s=360)
    first, *others = few.targets

    assert outcome.longest_s[first.name] >= 23 * HOUR_S
    assert all(outcome.longest_s[each.name] == 0 for each in others)
    assert outcome.waiting == pytest.approx(0, abs=1e-3)


def test_an_instance_that_several_wait_for_is_in_the_spool_once() -> None:
    """A house with no ledger for two hours has in its spool what came in them, whatever is to become of it."""
    site = replace(HOSPITAL, ledger_outages=(Outage(9 * HOUR_S, 11 * HOUR_S),), days=1)
    came = sum(site.arrivals(at_s) * 60 for at_s in range(9 * HOUR_S, 11 * HOUR_S, 60)) * site.instance_bytes
    found = simulated(site, costs(figures()), step_s=60).spool_most_bytes

    assert came <= found < 1.1 * came


def test_the_oldest_goes_first() -> None:
    """And how long it was there is what is told."""
    queue = Queue()
    queue.put(0, 2)
    queue.put(10, 2)

    assert list(queue.take(100, 3)) == [(0, 2), (10, 1)]
    assert (queue.waiting, queue.oldest_s, queue.longest_s, queue.most) == (1, 10, 100, 4)


def test_a_day_of_the_profile_is_a_day() -> None:
    """Bursts are given back within the hour."""
    assert sum(WORKING_DAY) == pytest.approx(1)
    assert sum(CLINIC.arrivals(at_s) * 60 for at_s in range(0, DAY_S, 60)) == pytest.approx(CLINIC.a_day)
    assert busiest_second(CLINIC) == pytest.approx(CLINIC.a_day * 0.095 / HOUR_S * 2)


def test_the_page_is_what_the_figures_say() -> None:
    """Written from the files beside it, by the costs of today; the smaller sites come to the same when simulated again."""
    made = json.loads(command.MADE.read_text("utf-8"))

    assert page(figures(), made, command.memory()) == command.PAGE.read_text("utf-8")
    found = costs(figures())
    assert made["costs"]["forward"] == pytest.approx(list(found.forward))
    for number, site in enumerate((CLINIC, HOSPITAL)):
        outcome = simulated(site, found, step_s=STEP_S)
        told = made["sites"][number]
        assert (told["name"], told["holds"], told["refused"]) == (
            site.name,
            outcome.holds,
            round(outcome.refused),
        )
        assert told["busiest"] == {name: round(each, 3) for name, each in outcome.busiest.items()}


def test_a_site_with_one_of_everything_is_borne_as_far_as_its_scarcest() -> None:
    """Twice the cores of the workers are twice the load, where they are all that there is too little of."""
    narrow, wide = (
        next(
            each.factor for each in limits(replace(CLINIC, worker_cores=cores), costs(figures())) if "workers" in each.what
        )
        for cores in (0.05, 0.1)
    )  # fmt: skip

    assert wide == pytest.approx(2 * narrow, rel=0.2)


@pytest.mark.long
def test_every_site_comes_to_what_the_page_says() -> None:
    """All of them, and what gives way first."""
    made = json.loads(command.MADE.read_text("utf-8"))

    assert json.loads(json.dumps(figures_of(figures()))) == made
