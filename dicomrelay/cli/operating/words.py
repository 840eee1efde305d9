"""What was done to transfers, in words for people and as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from dicomrelay.ledger.values import TransferState
from dicomrelay.ledger.values_operations import (
    Changed,
    JobRow,
    OrderKind,
    StandingOrder,
    Subject,
    SubjectKind,
    TransferRow,
    Verb,
)

_DONE: Final = {
    Verb.RETRY: "tried again now",
    Verb.HOLD: "held",
    Verb.RELEASE: "released",
    Verb.CANCEL: "cancelled",
}
# Why a verb leaves a state as it is, and what does something about it.
_LEFT: Final = {
    (Verb.RETRY, TransferState.HELD): "held: `dicomrelay jobs release` lets them go",
    (Verb.RETRY, TransferState.CANCELLED): "cancelled: `dicomrelay jobs replay` sends them after all",
    (Verb.RETRY, TransferState.READY): "due already",
    (Verb.RETRY, TransferState.RUNNING): "being sent",
    (Verb.RELEASE, TransferState.CANCELLED): "cancelled: `dicomrelay jobs replay` sends them after all",
    (
        Verb.RELEASE,
        TransferState.NEEDS_ATTENTION,
    ): "in need of attention: `dicomrelay jobs retry` tries them again",
    (Verb.HOLD, TransferState.NEEDS_ATTENTION): "in need of attention, which do not move by themselves",
    (Verb.HOLD, TransferState.HELD): "held already",
    (Verb.CANCEL, TransferState.CANCELLED): "cancelled already",
}
# How deliveries stand, by the fields of DestinationSummary.
STANDS: Final = {
    "delivered": "delivered",
    "pending": "pending",
    "failed": "to be tried again",
    "held": "held",
    "refused": "refused",
    "gave_up": "given up",
    "cancelled": "cancelled",
}


def state_words(state: str) -> str:
    """Such as "needs attention"."""
    return state.replace("_", " ")


def standing_words(states: Mapping[str, int]) -> list[str]:
    """Such as "79 delivered" and "1 refused"."""
    return [f"{states[name]} {what}" for name, what in STANDS.items() if states.get(name)]


def counted(number: int, what: str) -> str:
    """Such as "1 transfer", "2 transfers"."""
    return plural(number, what, f"{what}s")


def plural(number: int, one: str, more: str) -> str:
    """Such as "1 delivery", "2 deliveries"."""
    return f"{number} {one if number == 1 else more}"


def subject_words(subject: Subject) -> str:
    """Such as "study 1.2.3"."""
    return "everything" if subject.kind is SubjectKind.ALL else f"{subject.kind.value} {subject.id}"


def lines(changed: Changed) -> Iterator[str]:
    """What was done, what was left and why, and what is in force now."""
    yield f"{subject_words(changed.subject)}: {_done(changed)}"
    ran = sum(change.before is TransferState.RUNNING for change in changed.changes)
    if ran:
        yield f"    {ran} of them ran: the runner stops after the instance that is under way; what was answered counts"
    if changed.stages:
        yield f"    {counted(changed.stages, 'instance')}: archive or frames are tried again"
    if changed.verifications:
        yield f"    {counted(changed.verifications, 'instance')} not confirmed: asked about again, or sent again"
    for state, number in sorted(changed.unchanged.items()):
        yield f"    {number} left: {_LEFT.get((changed.verb, state), state_words(state.value))}"
    if changed.ungrouped and changed.verb is not Verb.CANCEL:
        yield f"    {counted(changed.ungrouped, 'instance')} not made into transfers yet"
    yield from (f"    {line}" for line in order_lines(changed.orders, changed.subject))
    if changed.lifted and not changed.orders:
        yield "    no order is in force any more: what comes later goes its way"
    for name in changed.held_by:
        yield f"    some of it is held by the order on {name}: `dicomrelay jobs release {name}` takes that away"


def _done(changed: Changed) -> str:
    """What became of transfers; a retry may find some whose study is held."""
    waits = TransferState.HELD if changed.verb is Verb.RETRY else None
    moved = [change for change in changed.changes if change.after is not waits]
    if not moved:
        kept = len(changed.changes)
        return (
            f"{counted(kept, 'transfer')} held, to be tried when released"
            if kept
            else f"nothing to {changed.verb.value}"
        )
    names = ", ".join(sorted({change.destination for change in moved}))
    instances = sum(change.instances for change in moved)
    return f"{counted(len(moved), 'transfer')} with {counted(instances, 'instance')} to {names} {_DONE[changed.verb]}"


def order_lines(orders: Sequence[StandingOrder], subject: Subject) -> Iterator[str]:
    """What is in force for what comes later."""
    for order in orders:
        to = f" to {order.destination}" if order.destination else ""
        if order.kind is OrderKind.GO:
            yield f"but what goes{to} is let go"
        else:
            doing = "held" if order.kind is OrderKind.HOLD else "cancelled"
            yield f"in force: what comes of this {subject.kind.value} later{to} is {doing} too"


def next_line(verb: Verb, subjects: Sequence[Subject], all_changed: Sequence[Changed], *, runs: bool) -> str:
    """The one line that says what happens or what to do now; "" when there is nothing to say."""
    names = " ".join(subject.id or "--all" for subject in subjects)
    changed = any(each.changes or each.stages or each.verifications for each in all_changed)
    ordered = any(each.orders for each in all_changed)
    if verb is Verb.HOLD and (changed or ordered):
        return f"next: `dicomrelay jobs release {names}` lets it go"
    if verb is Verb.CANCEL and changed:
        return f"next: nothing; if it was a mistake, `dicomrelay jobs replay {names}` sends it after all"
    if verb in (Verb.RETRY, Verb.RELEASE) and changed:
        if not runs:
            return "next: nothing runs on this home: it is sent when `dicomrelay up` runs"
        look = f"show {subjects[0].id}" if subjects[0].id else "list"
        return f"next: it is sent within seconds; `dicomrelay jobs {look}` tells how it goes"
    return ""


def changed_json(changed: Changed) -> dict[str, Any]:
    """One result of a verb; the schema is in docs/howto/retry-hold-cancel-replay.md."""
    return {
        "subject": {"kind": changed.subject.kind.value, "id": changed.subject.id},
        "destination": changed.destination,
        "transfers": len(changed.changes),
        "instances": changed.instances,
        "changed": [dataclasses.asdict(change) for change in changed.changes],
        "unchanged": plain(changed.unchanged),
        "ungrouped": changed.ungrouped,
        "stages": changed.stages,
        "verifications": changed.verifications,
        "lifted": [dataclasses.asdict(order) for order in changed.lifted],
        "orders": [dataclasses.asdict(order) for order in changed.orders],
        "held_by": list(changed.held_by),
    }


def job_json(row: JobRow) -> dict[str, Any]:
    """A row of `jobs list`."""
    return {
        **dataclasses.asdict(row),
        "state": row.state,
        "transfers": plain(row.transfers),
        "delivery_states": dict(row.delivery_states),
    }


def transfer_json(row: TransferRow) -> dict[str, Any]:
    """A transfer of `jobs show`."""
    return dataclasses.asdict(row)


def plain(counts: Mapping[TransferState, int]) -> dict[str, int]:
    """Counts by the names of states."""
    return {state.value: number for state, number in sorted(counts.items())}
