"""What is open of a delivery, and what happens next, with or without somebody. No I/O."""

from __future__ import annotations

from dicomrelay.ledger.journey import TracedDelivery, TracedInstance
from dicomrelay.ledger.values import DeliveryState, TransferState

_ARCHIVING = {
    "pending": "to be archived",
    "needs_attention": "not archived, and not by itself: `dicomrelay status` says why",
}
_FRAMING = {
    "pending": "frames to be prepared",
    "needs_attention": "frames not prepared, and not by itself: `dicomrelay status` says why",
}
_HAS_IT = (DeliveryState.DELIVERED.value, DeliveryState.WARNING.value)


def comes_next(delivery: TracedDelivery) -> str:
    """One sentence; "" when nothing is open."""
    if delivery.state in _HAS_IT:
        return "the destination is asked whether it has it" if delivery.verification == "pending" else ""
    if delivery.state == "cancelled":
        return f"cancelled: it is sent by `dicomrelay jobs replay` with --to {delivery.destination} only"
    if not delivery.transfer_id:
        return "becomes part of a transfer when its study is complete or a batch is full"
    return _of_transfer(delivery)


def _of_transfer(delivery: TracedDelivery) -> str:
    state, transfer = delivery.transfer_state, delivery.transfer_id
    if state == TransferState.NEEDS_ATTENTION or delivery.state == DeliveryState.REFUSED:
        return f"not by itself{_advice(delivery)}: `dicomrelay jobs retry {transfer}`"
    if state == "held":
        return f"held: `dicomrelay jobs release {transfer}`"
    if delivery.destination_held:
        return f"{delivery.destination} is held: `dicomrelay destinations release {delivery.destination}`"
    due_ms = delivery.due_in_ms or 0
    if state == TransferState.RUNNING and due_ms > 0:
        return f"its transfer is under way, attempt {delivery.transfer_attempt}"
    if delivery.breaker != "closed":
        probe_ms = delivery.probe_in_ms or 0
        when = f"in {_in_words(probe_ms)}" if probe_ms > 0 else "now"
        return (
            f"{delivery.destination} does not answer: it is called {when}, and gets this as soon as it does"
        )
    if delivery.outside_of_windows:
        return f"{delivery.destination} is outside of its time windows: sent when the next one opens"
    if due_ms > 0:
        is_new = state == TransferState.READY and not delivery.attempts
        when = "sent by a rule's word" if is_new else "tried again"
        return f"{when} in {_in_words(due_ms)}{_advice(delivery)}"
    return f"sent as soon as {delivery.destination} has a free place"


def _in_words(milliseconds: int) -> str:
    seconds = milliseconds / 1000
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _advice(delivery: TracedDelivery) -> str:
    return f" ({delivery.advice})" if delivery.advice else ""


def inside(instance: TracedInstance) -> str:
    """What is open of an instance inside the house; "" when nothing is."""
    if instance.state != "kept":
        return "set aside: other bytes came first under its SOP Instance UID; this one is kept in spool/aside and goes nowhere"
    return _ARCHIVING.get(instance.archiving) or _FRAMING.get(instance.framing, "")
