"""The rows of the pages about studies, jobs and transfers. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dicomrelay.ledger.journey import Step, TracedDelivery, TracedInstance
from dicomrelay.ledger.values import DestinationSummary, StudySummary, TransferState
from dicomrelay.ledger.values_operations import JobRow, OrderKind, StandingOrder, Subject, TransferRow
from dicomrelay.telling.coming import comes_next, inside
from dicomrelay.telling.journey import merged, said_of
from dicomrelay.text import shown, size
from monitor import words
from monitor.pages.transfer_rows import State

_KINDS: Final = {
    "needs_attention": "bad",
    "running": "busy",
    "ready": "wait",
    "waiting": "wait",
    "held": "wait",
    "cancelled": "ok",
    "done": "ok",
    "arriving": "busy",
    "under way": "busy",
}
_STANDS: Final = {
    "pending": "pending",
    "failed": "to be tried again",
    "held": "held",
    "refused": "refused",
    "gave_up": "given up",
    "cancelled": "cancelled",
}
STATES: Final = tuple(each.value for each in TransferState)


@dataclass(frozen=True, slots=True)
class ToRow:
    """How far a study or a job is at one destination."""

    name: str
    delivered: int
    total: int
    notes: str


@dataclass(frozen=True, slots=True)
class StudyRow:
    """A study in the list."""

    uid: str
    at: str
    stamp: str
    instances: str
    bytes: str
    state: State
    destinations: tuple[ToRow, ...]


@dataclass(frozen=True, slots=True)
class JobLine:
    """A job, or a study that came over the network, in the list of one state."""

    id: str
    kind: str
    at: str
    stamp: str
    state: State
    deliveries: str
    destinations: str
    reason: str


@dataclass(frozen=True, slots=True)
class TransferLine:
    """A transfer of a study or a job."""

    id: str
    destination: str
    state: State
    priority: str
    size: str
    attempt: int
    due: str
    reason: str


@dataclass(frozen=True, slots=True)
class TimeStep:
    """Something that happened, or alike things that followed each other."""

    at: str
    stamp: str
    until: str
    what: str
    said: str
    kind: str


def state(value: str, more: str = "") -> State:
    """A state of a transfer, or of all that a study has, as it is drawn."""
    return State(value.replace("_", " "), _KINDS.get(value, "wait"), more)


def study_row(study: StudySummary) -> StudyRow:
    """One in the list."""
    return StudyRow(
        uid=study.study_instance_uid,
        at=words.moment(study.last_received_at_ms),
        stamp=words.stamp(study.last_received_at_ms),
        instances=f"{study.instances:,}",
        bytes=size(study.bytes),
        state=standing(study),
        destinations=tuple(map(to_row, study.destinations)),
    )


def standing(study: StudySummary) -> State:
    """The most pressing of what its deliveries say."""
    sums = {
        name: sum(getattr(to, name) for to in study.destinations)
        for name in ("refused", "gave_up", "failed", "pending", "held", "delivered", "cancelled")
    }
    if sums["refused"] or sums["gave_up"]:
        return state("needs_attention")
    for name, value in (
        ("failed", "waiting"),
        ("pending", "under way"),
        ("held", "held"),
        ("delivered", "done"),
    ):
        if sums[name]:
            return State("delivered", "ok") if value == "done" else state(value)
    return state("cancelled") if sums["cancelled"] else State("goes nowhere", "ok")


def to_row(to: DestinationSummary) -> ToRow:
    """Such as 588 of 600, 12 held."""
    notes = [f"{getattr(to, name):,} {what}" for name, what in _STANDS.items() if getattr(to, name)]
    notes += [f"{to.warnings:,} with warnings"] if to.warnings else []
    total = to.delivered + sum(getattr(to, name) for name in _STANDS)
    return ToRow(shown(to.destination), to.delivered, total, ", ".join(notes))


def job_line(row: JobRow) -> JobLine:
    """One in the list of a state."""
    parts = [f"{number:,} {name.replace('_', ' ')}" for name, number in row.delivery_states.items() if number]
    parts += [f"{row.ungrouped:,} arriving"] if row.ungrouped else []
    return JobLine(
        id=row.id,
        kind=row.kind,
        at=words.moment(row.at_ms),
        stamp=words.stamp(row.at_ms),
        state=state(row.state),
        deliveries=", ".join(parts) or "nothing",
        destinations=shown(", ".join(row.destinations)) or "nowhere",
        reason=words.ours(row.reason),
    )


def transfer_line(row: TransferRow) -> TransferLine:
    """One of a study or a job."""
    due = ""
    if row.state is TransferState.WAITING and row.due_in_ms is not None:
        due = f"tried again in {words.age(row.due_in_ms)}" if row.due_in_ms >= 1000 else "due"
    reason = "; ".join(filter(None, (words.ours(row.reason), shown(row.advice))))
    return TransferLine(
        id=row.id,
        destination=shown(row.destination),
        state=state(row.state.value),
        priority=row.priority.value,
        size=f"{words.count(row.instances, 'instance')}, {size(row.bytes)}",
        attempt=row.attempt,
        due=due,
        reason=reason,
    )


def timeline(steps: Sequence[Step]) -> list[TimeStep]:
    """What happened, alike steps told once, the oldest first."""
    found = []
    for told in merged(steps):
        what, said = said_of(told, with_until=False)
        until = words.moment(told.last.at) if told.last.at - told.first.at >= 1000 else ""
        found.append(
            TimeStep(
                at=words.moment(told.first.at),
                stamp=words.stamp(told.first.at),
                until=until,
                what=what,
                said=said,
                kind=_drawn(told.first),
            )
        )
    return found


def _drawn(step: Step) -> str:
    outcome = str(step.detail.get("state", ""))
    if (
        outcome in ("refused", "failed")
        or "attention" in step.kind
        or step.detail.get("verdict") == "conflict"
    ):
        return "bad"
    if outcome in ("delivered", "warning") or step.kind in ("transfer_done", "archived"):
        return "ok"
    return "wait" if any(word in step.kind for word in ("held", "handed", "cancel")) else "busy"


def open_lines(deliveries: Sequence[TracedDelivery], instances: Sequence[TracedInstance]) -> list[str]:
    """What comes next, of all that is open."""
    alike: dict[str, int] = {}
    for delivery in deliveries:
        if coming := comes_next(delivery):
            key = f"{delivery.destination}: {coming}"
            alike[key] = alike.get(key, 0) + 1
    for instance in instances:
        if coming := inside(instance):
            alike[coming] = alike.get(coming, 0) + 1
    return [shown(f"{words.count(number, 'instance')}, {text}") for text, number in sorted(alike.items())]


def order_lines(orders: Sequence[StandingOrder], subject: Subject) -> list[str]:
    """What is in force for what comes later."""
    found = []
    for order in orders:
        to = f" to {shown(order.destination)}" if order.destination else ""
        if order.kind is OrderKind.GO:
            found.append(f"But what goes{to} is let go.")
        else:
            doing = "held" if order.kind is OrderKind.HOLD else "cancelled"
            found.append(f"In force: what comes of this {subject.kind.value} later{to} is {doing} too.")
    return found
