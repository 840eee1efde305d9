"""Performed procedure steps in words and as JSON. No patient is in them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from dicomrelay.dicom.status import status_name
from dicomrelay.scheduling.performed_values import ForwardRow, ForwardState, MessageRow, StepRow
from dicomrelay.text import shown


def step_json(row: StepRow) -> dict[str, Any]:
    """A step, for machines."""
    found = asdict(row)
    found["state"] = row.state.value
    found["study_instance_uids"] = studies_of(row)
    found["scheduled"] = list(found["scheduled"])
    found["forwards"] = [
        {**each, "state": forward.state.value}
        for each, forward in zip(found["forwards"], row.forwards, strict=True)
    ]
    return found


def message_json(row: MessageRow) -> dict[str, Any]:
    """A message, for machines."""
    return {**asdict(row), "kind": row.kind.value, "state": row.state.value}


def step_lines(row: StepRow) -> Iterator[str]:
    """A step, for people."""
    yield f"{row.state.value:<12}  {row.sop_instance_uid}"
    said = [row.modality, f"at {row.station_ae_title}", f"from {row.started}"]
    said += [f"to {row.ended}"] if row.ended else []
    yield f"              {shown(' '.join(said))}"
    for uid in studies_of(row):
        yield f"              study {shown(uid)}"
    yield f"              {_plural(row.instances, 'instance')} in {row.series} series, told in {_plural(row.messages, 'message')}"
    for line in forward_lines(row):
        yield f"              {line}"


def studies_of(row: StepRow) -> list[str]:
    """The studies it is for, each once."""
    return list(dict.fromkeys(each.study_instance_uid for each in row.scheduled))


def forward_lines(row: StepRow) -> Iterator[str]:
    """How its messages stand with each peer."""
    for name in dict.fromkeys(each.destination for each in row.forwards):
        mine = [each for each in row.forwards if each.destination == name]
        counts = Counter(each.state for each in mine)
        states = ", ".join(
            f"{counts[state]} {state.value.replace('_', ' ')}" for state in ForwardState if counts[state]
        )
        yield f"to {name}: {states}"
        stuck = next((each for each in mine if each.state is not ForwardState.SENT and each.reason), None)
        if stuck is not None:
            yield f"  message {stuck.number}: {why(stuck)}"


def unheard(row: StepRow) -> list[str]:
    """Who has still to hear of it, each once."""
    still = (ForwardState.WAITING, ForwardState.NEEDS_ATTENTION)
    return list(dict.fromkeys(each.destination for each in row.forwards if each.state in still))


def why(row: ForwardRow) -> str:
    """Why a message is not there yet, and when it is tried again."""
    words = row.reason or ("" if row.status is None else status_name(row.status))
    when_next = ""
    if row.state is ForwardState.WAITING and row.is_claimed:
        when_next = "being sent"
    elif row.state is ForwardState.WAITING and row.due_in_ms:
        when_next = f"next attempt in {max(1, row.due_in_ms // 1000)} s"
    return "; ".join(filter(None, (words, when_next)))


def when(ms: int) -> str:
    """A time of the database, local."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(ms / 1000))


def _plural(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"
