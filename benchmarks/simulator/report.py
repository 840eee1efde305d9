"""The reference page about sizing, from the measured figures and what the simulator made of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.simulator.measured import Figures, costs, pixel_bytes
from benchmarks.simulator.plans import CT_BYTES, REGION, busiest_second, limits, outcomes
from benchmarks.simulator.site import Costs

_TB = 1e12
_STAGES = (
    ("receive", "gateway"),
    ("intake", "group, with the ledger"),
    ("keep", "archive and frames"),
    ("forward", "forward, to each destination"),
)
# What was measured with small instances only.
_WITHOUT_BYTES = frozenset({"intake", "keep"})


def figures_of(figures: Figures) -> dict[str, Any]:
    """All that the page says and that took a computation."""
    found = costs(figures)
    return {
        "costs": {name: list(getattr(found, name)) for name, _ in _STAGES}
        | {"ledger": found.ledger, "claim": found.claim, "between": found.between_s},
        "sites": [
            {
                "name": site.name,
                "busiest_second": round(busiest_second(site), 1),
                "deliveries": round(busiest_second(site) * sum(each.share for each in site.targets), 1),
                "holds": outcome.holds,
                "refused": round(outcome.refused),
                "spool_gb": round(outcome.spool_most_bytes / 1e9, 1),
                "busiest": {name: round(each, 3) for name, each in outcome.busiest.items()},
                "archive_s": round(outcome.longest_s["archive"]),
                "first_s": round(outcome.longest_s[site.targets[0].name]),
                "others_s": round(max(outcome.longest_s[each.name] for each in site.targets[1:])),
            }
            for site, outcome in outcomes(found)
        ],
        "limits": [[each.what, round(each.factor, 1)] for each in limits(REGION, found)],
    }


def page(figures: Figures, made: dict[str, Any], memory: dict[str, float]) -> str:
    """The page, as Markdown."""
    return "\n".join(_lines(figures, made, memory)) + "\n"


def _lines(figures: Figures, made: dict[str, Any], memory: dict[str, float]) -> Iterator[str]:
    costs_of = {name: (float(made["costs"][name][0]), float(made["costs"][name][1])) for name, _ in _STAGES}
    found = Costs(
        receive=costs_of["receive"],
        intake=costs_of["intake"],
        keep=costs_of["keep"],
        forward=costs_of["forward"],
        ledger=made["costs"]["ledger"],
        claim=made["costs"]["claim"],
    )
    yield from _HEAD.splitlines()
    yield from _of_a_core(figures, found)
    yield from _of_memory(figures, memory)
    yield from _of_bytes(figures, found)
    yield from _of_sites(made, figures.database["postgresql_beside_sqlite"])
    yield from _of_limits(made)


def _of_a_core(figures: Figures, found: Costs) -> Iterator[str]:
    yield from ("", "## What a core does", "")
    yield "| stage | 8 kB: ms of a core | instances/s of a core | 524 kB: ms of a core | instances/s | MB/s |"
    yield "|---|---|---|---|---|---|"
    for name, words in _STAGES:
        small, ct = (1000 * Costs.of(getattr(found, name), pixel_bytes(load)) for load in ("small", "ct"))
        if name in _WITHOUT_BYTES:
            yield f"| {words} | {small:.2f} | {1000 / small:,.0f} | {small:.2f} ¹ | | |"
            continue
        speed = pixel_bytes("ct") / ct / 1000
        yield f"| {words} | {small:.2f} | {1000 / small:,.0f} | {ct:.2f} | {1000 / ct:,.0f} | {speed:,.0f} |"
    rates = [
        figures.each_second("pipeline", load, "storescu → dicomrelay → storescp") for load in ("small", "ct")
    ]
    slow = [
        figures.each_second("slow-destination", "small", name) for name in ("1 association", "8 associations")
    ]
    yield from ("", *_CORE.format(small=rates[0], ct=rates[1], one=slow[0], eight=slow[1]).splitlines())


def _of_memory(figures: Figures, memory: dict[str, float]) -> Iterator[str]:
    load = "200 associations"
    yield from ("", "## Memory", "", "| | MiB |", "|---|---|")
    for words, name in (
        ("a gateway with 200 associations open, all receiving", "the whole gateway at its most, all receiving at once"),
        ("each more association, after a data set", "one more association, after a data set"),
    ):  # fmt: skip
        yield f"| {words} | {figures.median('memory', load, name):,.1f} |"
    yield f"| a streamer with 100 clients that stream | {figures.median('streams', 'ct', 'memory of the server at most'):,.0f} |"
    for name, words in _SERVICES:
        yield f"| {words} | {memory[name]:,.0f} |"
    yield from ("", *_MEMORY.format(count=int(memory["instances"])).splitlines())


_SERVICES = (
    ("gateway", "gateway, one association"),
    ("intake", "intake worker, 2 processes"),
    ("keep", "keep worker, 2 processes"),
    ("forward", "forward workers, 2 processes of 32 threads"),
    ("scheduler", "scheduler"),
    ("streamer", "streamer"),
    ("monitor", "Flower"),
    ("broker", "embedded broker"),
)


def _of_bytes(figures: Figures, found: Costs) -> Iterator[str]:
    sqlite, shared = figures.database, figures.database["postgresql"]
    count = _TB / CT_BYTES
    stages = [Costs.of(getattr(found, name), CT_BYTES) for name, _ in _STAGES]
    yield from (
        "",
        "## A terabyte",
        "",
        "Of CT slices of 525 kB, to one destination and into the archive:",
        "",
    )
    yield from ("| | |", "|---|---|")
    yield f"| instances | {count / 1e6:.1f} million |"
    yield f"| hours of a core | {sum(stages) * count / 3600:.1f}; each further destination {stages[-1] * count / 3600:.1f} |"
    for words, name in _OF_A_DATABASE:
        yield (
            f"| {words} | "
            + ", ".join(
                f"{each[name] * count / 1e9:.1f} GB in {where} ({each[name]:,} bytes)"
                for each, where in ((sqlite, "SQLite"), (shared, "PostgreSQL"))
            )
            + " |"
        )
    yield "| disks | 1 TB into the spool; into the archive 1 TB more, or nothing where it is a link |"
    yield f"| a bucket | {count / 1e6:.1f} million PUTs |"
    yield "| network | 1 TB in, 1 TB out for each destination; to a bucket 1 TB more, and back for what is sent from there |"
    ledger = shared["ledger_bytes_each"] + (_OF_THE_REGION - 1) * shared["delivery_bytes_each"]
    yield (
        f"| 10⁹ instances of any size, in PostgreSQL | ledger {ledger:,.0f} GB with {_OF_THE_REGION:g} deliveries each, "
        f"index {shared['index_bytes_each']:,} GB |"
    )


_OF_THE_REGION = round(sum(each.share for each in REGION.targets), 1)
_OF_A_DATABASE = (
    ("ledger, an instance with its delivery", "ledger_bytes_each"),
    ("each further delivery", "delivery_bytes_each"),
    ("index of the archive", "index_bytes_each"),
)


def _of_sites(made: dict[str, Any], beside: float) -> Iterator[str]:
    yield from ("", "## Sites", "", *_SITES.format(beside=beside).splitlines(), "")
    yield (
        "| site | busiest second: instances, deliveries | keeps up | refused | spool at most "
        "| gateways, workers, ledger: busiest minute | longest until archived | at the first destination | at the others |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    for each in made["sites"]:
        busy = ", ".join(f"{100 * share:.0f} %" for share in each["busiest"].values())
        yield (
            f"| {each['name']} | {each['busiest_second']:,}, {each['deliveries']:,} | {'yes' if each['holds'] else '**no**'} "
            f"| {each['refused']:,} | {each['spool_gb']:,} GB | {busy} | {_time(each['archive_s'])} | {_time(each['first_s'])} "
            f"| {_time(each['others_s'])} |"
        )


def _of_limits(made: dict[str, Any]) -> Iterator[str]:
    yield from ("", "## What gives way first", "")
    yield "How many times the load of the region could be borne, if the one thing were all that there is too little of:"
    yield from ("", "| | times |", "|---|---|")
    for what, factor in sorted(made["limits"], key=lambda each: each[1]):
        yield f"| {what} | {factor} |"
    yield from ("", *_LIMITS.splitlines())


def _time(seconds: float) -> str:
    if seconds < 60:
        return "under a minute"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


_HEAD = """# Sizing

<!-- Written by `python -m benchmarks.simulator --write` from performance.json, service-memory.json, database-bytes.json and
sizing.json beside it; a test compares them. -->

How many machines for how many modalities. The figures of the first half were measured, on two cores
([performance](performance.md)); those of the second half are computed from them by a
[simulator](../design/scale.md#simulator), which says what holds and not how fast your disks are."""

_CORE = """Under load, when batches are full. ¹ Measured with small instances only; what a large one takes more there is in the
figure of forwarding. Senders and receivers ran on the same two cores and are counted in; what was not measured by itself is
put down to forwarding. So a core of yours does this at least, if it is as quick and the disk is. Two cores took {small:,.0f}
small instances a second all the way, and {ct:,.0f} slices.

A destination that answers after 20 ms took {one:.0f} instances a second over one association, {eight:.0f} over eight:
associations, and not workers, are what a slow destination wants."""

_MEMORY = """Of the services under `up`, after {count} instances; pages that processes share are counted once. One instance of
8 GB takes no more memory than a small one ([performance](performance.md#one-huge-instance))."""

_SITES = """A day as radiology has it: little at night, most from eight to six, a fifth of each hour at twice its mean. 525 kB an
instance; destinations answer after 20 ms over 4 associations (the clinic 2) where nothing else is said. The ledger has one
writer: SQLite as it was measured, and for the region PostgreSQL, of which one process wrote {beside} times as much as of
SQLite, turn by turn. An instance of the region goes to 2.5 of 50 destinations. Times are to a minute: what takes less is
under one."""

_LIMITS = """Each with all others plenty; borne is what is refused nowhere and leaves every queue within ten minutes.
[Scale](../design/scale.md) says what to do then."""
