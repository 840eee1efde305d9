"""Steps in lines: alike ones that follow each other are told once, with how many they were. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from dicomrelay.dicom.status import status_row
from dicomrelay.ledger.journey import Step, TracedDelivery, TracedInstance
from dicomrelay.telling.coming import comes_next, inside
from dicomrelay.text import shown, size

# Differs from one to the next where all else is alike.
_OWN = frozenset(
    {
        "sop_instance_uid",
        "sent_sop_instance_uid",
        "digest",
        "bytes",
        "received_at",
        "started_at",
        "ended_at",
        "series_instance_uid",
        "sop_class_uid",
    }
)
# Told in words of their own.
_SAID = _OWN | {
    *("state", "status", "words", "verdict", "destinations", "rules", "rules_version", "archive", "priority"),
    *("calling_ae_title", "called_ae_title", "address"),
    "edits",  # its words say so
}


@dataclass(slots=True)
class Told:
    """Steps that are told as one."""

    first: Step
    last: Step
    count: int = 0
    bytes: int = 0
    instances: set[str] = field(default_factory=set)


def merged(steps: Iterable[Step]) -> list[Told]:
    """Neighbours that differ in nothing but whose they are, in the order of the first of each.

    What goes to several destinations, or in several transfers, goes at the same time: neighbours are those of one of them.
    """
    found: list[Told] = []
    latest: dict[tuple[str, ...], Told] = {}
    for step in steps:
        thread = step.study_instance_uid, step.destination, step.job_id, step.transfer_id
        told = latest.get(thread)
        if told is None or _alike(told.first) != _alike(step):
            told = latest[thread] = Told(step, step)
            found.append(told)
        told.last = step
        told.count += 1
        told.bytes += step.detail.get("bytes") or 0
        told.instances.add(step.instance_id)
    return found


def _alike(step: Step) -> tuple[Any, ...]:
    rest = tuple(sorted((name, str(value)) for name, value in step.detail.items() if name not in _OWN))
    return step.kind, step.study_instance_uid, step.destination, step.job_id, step.transfer_id, rest


def line(told: Told) -> str:
    """When, what, whereto, and how it went."""
    what, said = said_of(told)
    return shown(f"{time_of(told.first.at)}  {what}" + (f": {said}" if said else ""))


def said_of(told: Told, *, with_until: bool = True) -> tuple[str, str]:
    """What and whereto, and how it went; until when, for who does not say that in another place."""
    step, instances = told.first, len(told.instances)
    parts = [
        f"{instances} instances" if instances > 1 else "",
        f"{told.count} times" if told.count > instances else "",
        size(told.bytes) if told.bytes else "",
        *_words(step.detail),
        *_rest(step),
        f"SHA-256 {step.detail['digest']}" if told.count == 1 and "digest" in step.detail else "",
        f"until {time_of(told.last.at)}" if with_until and told.last.at != step.at else "",
    ]
    what = f"{step.kind.replace('_', ' ')} {step.destination}".strip()
    return shown(what), shown(", ".join(filter(None, parts)))


def _words(detail: dict[str, Any]) -> Iterator[str]:
    if detail.get("verdict") == "conflict":
        yield "other bytes under a SOP Instance UID that is taken"
    elif "verdict" in detail:
        yield "" if detail["verdict"] == "new" else str(detail["verdict"])
        archive = "archive" if detail.get("archive") else ""
        to = ", ".join(filter(None, [*detail.get("destinations", "").split("\\"), archive]))
        by = f" by rule {detail['rules']} of {detail['rules_version']}" if detail.get("rules") else ""
        yield f"to {to or 'nowhere'}{by}, priority {detail.get('priority', 'normal')}"
    if "state" in detail:
        status = detail.get("status")
        answer = "" if status is None else f" {status:04X} {status_row(status).name}"
        yield f"{str(detail['state']).replace('_', ' ')}{answer}"
    if detail.get("words"):
        yield str(detail["words"])


def _rest(step: Step) -> Iterator[str]:
    detail = step.detail
    if detail.get("calling_ae_title") and detail.get("address"):
        called = f" to {detail['called_ae_title']}" if detail.get("called_ae_title") else ""
        yield f"from {detail['calling_ae_title']}{called}, address {detail['address']}"
    for name, value in detail.items():
        if name not in _SAID:
            yield f"{name.removesuffix('_id').replace('_', ' ')} {value}"
    if step.transfer_id:
        yield f"transfer {step.transfer_id}"
    if step.job_id:
        yield f"job {step.job_id}"


def time_of(at: int) -> str:
    """Epoch milliseconds as people read them, UTC."""
    return f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%d %H:%M:%S}.{at % 1000:03d}Z"


def standing(deliveries: Sequence[TracedDelivery]) -> Iterator[str]:
    """How things stand at each destination, and what happens next."""
    alike: dict[tuple[str, str], Counter[str]] = {}
    verified: Counter[str] = Counter()
    for delivery in deliveries:
        alike.setdefault((delivery.destination, comes_next(delivery)), Counter())[delivery.state] += 1
        verified[delivery.destination] += delivery.verification == "verified"
    for (destination, coming), states in sorted(alike.items()):
        counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        if not coming and verified[destination]:
            counts += f", {verified[destination]} of them verified"
        yield shown(f"{destination}: {counts}" + (f": {coming}" if coming else ""))


def inside_the_house(instances: Sequence[TracedInstance]) -> Iterator[str]:
    """What archive and frames have yet to do."""
    counts = Counter(inside(instance) for instance in instances)
    for words, count in sorted(counts.items()):
        if words:
            yield f"{count} instance{'s' if count > 1 else ''}: {words}"
