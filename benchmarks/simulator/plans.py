"""The sites that the reference page tells of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from benchmarks.simulator.queues import Outcome, simulated
from benchmarks.simulator.site import DAY_S, HOUR_S, Costs, Outage, Site, Target

CT_BYTES = 525e3
STEP_S = 60.0
_A_YEAR = 365
_MOST_FACTOR = 64


def _targets(count: int, share: float, associations: int, answer_s: float = 0.02) -> tuple[Target, ...]:
    return tuple(
        Target(f"destination {number}", share, associations, answer_s) for number in range(1, count + 1)
    )


CLINIC = Site(
    "a clinic: 20 modalities, 2 destinations, one machine of 2 cores", 20_000, CT_BYTES, _targets(2, 1.0, 2),
    gateway_cores=0.75, worker_cores=1.25, spool_bytes=200e9,
)  # fmt: skip
HOSPITAL = Site(
    "a hospital: 100 modalities, 5 destinations, 10⁸ a year, one machine of 8 cores", 1e8 / _A_YEAR, CT_BYTES,
    _targets(5, 0.5, 4), gateway_cores=2, worker_cores=6, spool_bytes=2e12,
)  # fmt: skip
REGION = Site(
    "a region: 1,000 modalities, 50 destinations, 10⁹ a year, 2 gateway hosts and 4 worker hosts of 4 cores",
    1e9 / _A_YEAR, CT_BYTES, _targets(50, 0.05, 4), gateway_cores=8, worker_cores=16, spool_bytes=20e12,
    postgresql=True,
)  # fmt: skip
_FIRST = REGION.targets[0]
NIGHT = replace(
    REGION,
    name="the region, with one destination away for a day",
    targets=(replace(_FIRST, outages=(Outage(9 * HOUR_S, 33 * HOUR_S),)), *REGION.targets[1:]),
    days=3,
)
FAR = replace(
    REGION,
    name="the region, with one destination that takes everything, 200 ms away, over 4 associations",
    targets=(replace(_FIRST, share=1.0, answer_s=0.2), *REGION.targets[1:]),
)
FAR_WIDE = replace(
    FAR,
    name="the same over 64 associations",
    targets=(replace(FAR.targets[0], associations=64), *REGION.targets[1:]),
)
NO_LEDGER = replace(
    REGION,
    name="the region, with no database from 9 to 11 in the morning",
    ledger_outages=(Outage(9 * HOUR_S, 11 * HOUR_S),),
)
SITES = (CLINIC, HOSPITAL, REGION, NIGHT, FAR, FAR_WIDE, NO_LEDGER)


@dataclass(frozen=True, slots=True)
class Limit:
    """How many times its load a site bears when one kind of thing is all that there is too little of."""

    what: str
    factor: float


def outcomes(costs: Costs) -> Iterator[tuple[Site, Outcome]]:
    """Each site, and what came of its days."""
    for site in SITES:
        yield site, simulated(site, costs, step_s=STEP_S)


def limits(site: Site, costs: Costs) -> Iterator[Limit]:
    """What gives way first as a site grows: each resource by itself, all others made plenty."""
    plenty = {
        "gateway_cores": site.gateway_cores * 1000,
        "worker_cores": site.worker_cores * 1000,
        "ledger_writers": site.ledger_writers * 1000,
        "targets": tuple(replace(each, associations=10_000, bytes_per_s=1e12) for each in site.targets),
        "spool_bytes": 1e18,
        "days": 1,
    }
    for what, name in (
        ("cores of the gateways", "gateway_cores"),
        ("cores of the workers", "worker_cores"),
        ("the ledger's one writer", "ledger_writers"),
        ("associations and lines of the destinations", "targets"),
    ):
        free = {key: value for key, value in plenty.items() if key != name}
        yield Limit(what, _borne(replace(site, **free), costs))  # type: ignore[arg-type]


def _borne(site: Site, costs: Costs) -> float:
    """The largest factor, to a sixteenth of itself, at which nothing is refused and every queue is empty within ten minutes."""
    low, high = 0.0, float(_MOST_FACTOR)
    while high - low > high / 16:
        middle = (low + high) / 2
        found = simulated(replace(site, a_day=site.a_day * middle), costs, step_s=6 * STEP_S)
        if found.refused == 0 and max(found.longest_s.values()) <= 600:
            low = middle
        else:
            high = middle
    return low


def busiest_second(site: Site) -> float:
    """Instances in the busiest second of a day."""
    return max(site.arrivals(at_s) for at_s in range(0, int(DAY_S), int(HOUR_S / 10)))
