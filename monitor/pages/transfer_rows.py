"""The rows of the page Transfers, from what the ledger and the broker say. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dicomrelay.ledger.flow_summary import DestinationFlow
from dicomrelay.ledger.rates import NOW_MS, History
from dicomrelay.ledger.rates_counting import Moved
from dicomrelay.ledger.work_waiting import WorkWaiting
from dicomrelay.text import shown, size
from monitor import charts, words


@dataclass(frozen=True, slots=True)
class State:
    """A state in words, and how it is drawn: ok, busy, wait or bad."""

    words: str
    kind: str
    more: str = ""


@dataclass(frozen=True, slots=True)
class DestinationRow:
    """A destination as it is shown."""

    name: str
    address: str
    state: State
    instances: str
    bytes: str
    oldest: str
    associations: str
    speed: str
    rate: str
    eta: str
    error: str
    refused: int
    is_held: bool
    last_delivered: str
    chart: str
    peak: str


@dataclass(frozen=True, slots=True)
class SourceRow:
    """A source as it is shown."""

    name: str
    speed: str
    rate: str
    instances: str
    bytes: str
    chart: str
    peak: str


@dataclass(frozen=True, slots=True)
class QueueRow:
    """A queue as it is shown; what is not known is "–"."""

    name: str
    messages: str
    workers: str
    work: str
    oldest: str


@dataclass(frozen=True, slots=True)
class Totals:
    """The figures at the top; an instance that waits for two destinations is two deliveries."""

    waiting: str
    waiting_bytes: str
    sending: str
    sending_rate: str
    receiving: str
    receiving_rate: str
    troubled: int


@dataclass(frozen=True, slots=True)
class Span:
    """What charts cover."""

    name: str
    words: str
    steps: int
    minutes: int


HOUR: Final = Span("hour", "the last hour", 60, 1)
DAY: Final = Span("day", "the last day", 96, 15)
SPANS: Final = {each.name: each for each in (HOUR, DAY)}


def state_of(flow: DestinationFlow, outside: Collection[str]) -> State:
    """How a destination stands; what keeps it back goes before what it does."""
    if flow.held_for_ms is not None:
        return State("held", "wait", f"for {words.age(flow.held_for_ms)}")
    if flow.breaker != "closed":
        since = f"for {words.age(flow.open_for_ms)}, " if flow.open_for_ms is not None else ""
        when = f"in {words.age(flow.probe_in_ms)}" if flow.probe_in_ms else "now"
        return State("does not answer", "bad", f"{since}asked again {when}")
    if flow.name in outside:
        return State("outside of its time windows", "wait")
    if flow.running:
        return State("sending", "busy", words.count(flow.running, "transfer"))
    if flow.failures:
        return State("failed", "wait", words.count(flow.failures, "time in a row", "times in a row"))
    return State("waiting", "wait") if flow.instances else State("idle", "ok")


def bytes_curve(what: str, history: History, name: str) -> charts.Curve:
    """Bytes a second in each step."""
    return _curve(what, history, name, lambda each: each.bytes, words.per_second)


def instances_curve(what: str, history: History, name: str) -> charts.Curve:
    """Instances a second in each step."""
    return _curve(what, history, name, lambda each: each.instances, words.instances_per_second)


def _curve(
    what: str,
    history: History,
    name: str,
    amount: Callable[[Moved], int],
    in_words: Callable[[float], str],
) -> charts.Curve:
    values = [amount(each) * 1000 / history.step_ms for each in history.of(name)]
    return charts.Curve(what, values, history.begin_ms, history.step_ms, in_words)


def peak_words(curve: charts.Curve) -> str:
    """How much the top of a small chart is; "" where nothing moved."""
    return f"at most {curve.words(curve.peak)}" if curve.peak else ""


def destination_rows(
    flows: Sequence[DestinationFlow], history: History, outside: Collection[str]
) -> list[DestinationRow]:
    """Every destination, those in trouble first, then those with work, then by name."""
    order = {"bad": 0, "wait": 1, "busy": 1, "ok": 2}
    rows = [destination_row(flow, history, outside) for flow in flows]
    return sorted(rows, key=lambda row: (order[row.state.kind], row.name))


def destination_row(flow: DestinationFlow, history: History, outside: Collection[str]) -> DestinationRow:
    """One of them."""
    name = shown(flow.name)
    curve = bytes_curve(f"Sent to {name}", history, flow.name)
    return DestinationRow(
        name=name,
        address=shown(flow.address),
        state=state_of(flow, outside),
        instances=f"{flow.instances:,}",
        bytes=size(flow.bytes),
        oldest=words.age(flow.oldest_ms),
        associations=f"{flow.running} of {words.count(flow.limit, 'association')}",
        speed=words.per_second(flow.bytes_per_s),
        rate=words.instances_per_second(flow.instances_per_s),
        eta=words.NONE if flow.eta_s is None or not flow.instances else words.span(flow.eta_s),
        error=words.ours(flow.last_error) if flow.breaker != "closed" or flow.failures else "",
        refused=flow.refused,
        is_held=flow.held_for_ms is not None,
        last_delivered=words.NONE
        if flow.last_delivered_ms is None
        else f"{words.age(flow.last_delivered_ms)} ago",
        chart=charts.small(curve),
        peak=peak_words(curve),
    )


def source_rows(history: History, arriving: Mapping[str, Moved]) -> list[SourceRow]:
    """Every source of the span or of now, those with most bytes first."""
    sums = {
        name: Moved(sum(each.instances for each in of), sum(each.bytes for each in of))
        for name, of in history.series.items()
    }
    rows = []
    for name in sorted({*sums, *arriving}, key=lambda each: (-sums.get(each, Moved(0, 0)).bytes, each)):
        now, whole = arriving.get(name, Moved(0, 0)), sums.get(name, Moved(0, 0))
        told = source_name(name)
        curve = bytes_curve(f"Received from {told}", history, name)
        rows.append(
            SourceRow(
                name=told,
                speed=words.per_second(now.bytes * 1000 / NOW_MS),
                rate=words.instances_per_second(now.instances * 1000 / NOW_MS),
                instances=f"{whole.instances:,}",
                bytes=size(whole.bytes),
                chart=charts.small(curve),
                peak=peak_words(curve),
            )
        )
    return rows


def source_name(name: str) -> str:
    """What is submitted on a machine has no AE title."""
    return shown(name) if name.strip() else "files submitted here"


def queue_rows(
    names: Sequence[str],
    depths: Mapping[str, int] | None,
    workers: Mapping[str, int],
    waiting: Sequence[WorkWaiting],
) -> list[QueueRow]:
    """Every queue, in the order of the names; `depths` None when the broker does not answer."""
    work = {each.queue: each for each in waiting}
    rows = []
    for name in names:
        mine = work.get(name)
        rows.append(
            QueueRow(
                name=name,
                messages=words.NONE if depths is None else f"{depths.get(name, 0):,}",
                workers=f"{workers.get(name, 0)}",
                work=words.NONE if mine is None else words.count(mine.count, *_units(mine.units)),
                oldest=words.NONE if mine is None else words.age(mine.oldest_ms),
            )
        )
    return rows


def _units(units: str) -> tuple[str, str]:
    return {"studies": "study"}.get(units, units.removesuffix("s")), units


def totals(flows: Sequence[DestinationFlow], arriving: Mapping[str, Moved]) -> Totals:
    """Of everything."""
    return Totals(
        waiting=f"{sum(each.instances for each in flows):,}",
        waiting_bytes=size(sum(each.bytes for each in flows)),
        sending=words.per_second(sum(each.bytes_per_s for each in flows)),
        sending_rate=words.instances_per_second(sum(each.instances_per_s for each in flows)),
        receiving=words.per_second(sum(each.bytes for each in arriving.values()) * 1000 / NOW_MS),
        receiving_rate=words.instances_per_second(
            sum(each.instances for each in arriving.values()) * 1000 / NOW_MS
        ),
        troubled=sum(each.breaker != "closed" for each in flows),
    )
