"""docs/reference/hosts.md, written from what was measured; a test compares the two."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

from chaos.figures import Figure, Row, Verdict
from chaos.hosts.throughput import ANSWER_S, PLACES
from chaos.oracle import Account

PAGE: Final = Path(__file__).parents[2] / "docs" / "reference" / "hosts.md"
DATA: Final = PAGE.with_suffix(".json")

_INTRODUCTION: Final = f"""\
# Several hosts: what was measured

<!-- Written by `python -m chaos.hosts --write` from hosts.json beside it; a test compares the two. -->

Two gateway hosts, two worker hosts, broker, PostgreSQL, S3 (moto) and two destinations, each a host of namespaces with an
address, a process table and a disk of its own ([how](../design/hosts.md#proof)); broker and database speak TLS only and want a
password. Senders go on through everything. *lost* is what was acknowledged and is nowhere; *undelivered* what a destination does
not have at the end and nobody lists. All hosts share two cores with whatever else runs there, so seconds are the most that it
took, and no speed. There is no netem in this kernel: *slow* is a token bucket (tc-tbf) for bytes. It delays what waits behind
other bytes, by up to 300 ms, and is no round trip time; the latency of the last table is the destination's, which waits
{ANSWER_S:g} s before each answer.

`make hosts` or `make hosts BROKER=rabbitmq` does each once and adds it to the page (`ONLY=leader-cut,slow-link`: some of them).
A row is all its trials: counts are sums, and each figure is the worst of them.
"""
_THROUGHPUT: Final = f"""
## Two worker hosts against one

A destination that takes {ANSWER_S:g} s for each answer, {PLACES} transfers at once on each worker host (`--processes {PLACES}`),
of which one is kept for urgent studies, and more associations allowed than both have places for. Four rounds: one host, two, two,
one; a median each, between the first and the last tenth of the arrivals.
"""


def read() -> dict[str, Row]:
    """Rows by name and broker; none when there is no file."""
    if not DATA.exists():
        return {}
    return {f"{row.fault} {row.unit}": row for row in map(_row, json.loads(DATA.read_text("utf-8"))["rows"])}


def write(rows: Mapping[str, Row]) -> None:
    """Both files."""
    ordered = [asdict(rows[name]) for name in sorted(rows)]
    for figure in (figure for row in ordered for figure in row["figures"]):
        figure["value"] = None if not math.isfinite(figure["value"]) else round(float(figure["value"]), 2)
    DATA.write_text(json.dumps({"rows": ordered}, indent=1, allow_nan=False) + "\n", "utf-8")
    PAGE.write_text(render(read()), "utf-8")


def add(row: Row, *, anew: bool = False) -> None:
    """Add a trial to what is there of its kind, or put it in its place."""
    rows, key = read(), f"{row.fault} {row.unit}"
    before = rows.get(key)
    write(rows | {key: row if anew or before is None else merged(before, row)})


def merged(before: Row, row: Row) -> Row:
    """Both as one: counts are sums, figures the worst, bars those of today; what was measured otherwise then is left out."""
    then = {figure.name: figure.value for figure in before.figures}
    if before.account is None or row.account is None or then.keys() != {each.name for each in row.figures}:
        return row
    figures = tuple(
        replace(each, value=(min if each.at_least else max)(each.value, then[each.name]))
        for each in row.figures
    )
    return replace(
        row,
        trials=before.trials + row.trials,
        account=before.account + row.account,
        figures=figures,
        seconds=round(before.seconds + row.seconds, 1),
    )


def render(rows: Mapping[str, Row]) -> str:
    """The page."""
    return "\n".join(_lines(rows)) + "\n"


def _lines(rows: Mapping[str, Row]) -> Iterator[str]:
    faults = [row for row in rows.values() if row.fault != "throughput"]
    yield _INTRODUCTION
    yield (
        "| what is done | broker | trials | acknowledged | lost | undelivered | corrupt | duplicates | measured | last | |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|---|"
    for row in faults:
        account = row.account or Account()
        counts = f"{account.acknowledged} | {account.lost} | {account.undelivered} | {account.corrupt} | {account.duplicates}"
        figures = "; ".join(map(str, row.figures))
        yield (
            f"| {row.title} | {row.unit} | {row.trials} | {counts} | {figures} | {_last(row)} | {_verdict(row)} |"
        )
    whole = sum((row.account for row in rows.values() if row.account), Account())
    yield ""
    yield (
        f"In all: {sum(row.trials for row in rows.values())} trials, {whole.acknowledged} acknowledged, {whole.lost} lost, "
        f"{whole.undelivered} undelivered, {whole.corrupt} corrupt."
    )
    measured = [row for row in rows.values() if row.fault == "throughput"]
    if measured:
        yield _THROUGHPUT
        yield "| broker | measured | lost | last | |"
        yield "|---|---|---|---|---|"
    for row in measured:
        lost = row.account.lost if row.account else 0
        yield f"| {row.unit} | {'; '.join(map(str, row.figures))} | {lost} | {_last(row)} | {_verdict(row)} |"


def _last(row: Row) -> str:
    return f"{row.date}, {row.revision}"


def _verdict(row: Row) -> str:
    return row.verdict.value if row.verdict is Verdict.KEPT else f"**{row.verdict.value}**"


def _row(raw: Mapping[str, object]) -> Row:
    values = dict(raw)
    figures = tuple(
        Figure(**{**each, "value": math.inf if each["value"] is None else each["value"]})
        for each in values["figures"]  # type: ignore[attr-defined]
    )
    account = None if raw["account"] is None else Account(**raw["account"])  # type: ignore[arg-type]
    return Row(**{**values, "figures": figures, "account": account})  # type: ignore[arg-type]
