"""The store response of STOW-RS: what it says of each instance (PS3.18 Section 10.5.3, PS3.3 Annex CC.1). No I/O."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from dicomrelay.dicom.status import Outcome, status_row
from dicomrelay.text import shown

_REFERENCED_SOP_SEQUENCE: Final = "00081199"
_FAILED_SOP_SEQUENCE: Final = "00081198"
_REFERENCED_SOP_INSTANCE_UID: Final = "00081155"
_WARNING_REASON: Final = "00081196"
_FAILURE_REASON: Final = "00081197"
_ERROR_COMMENT: Final = "00000902"
_LONGEST_COMMENT: Final = 200
# Duplicate SOP Instance (PS3.7 Annex C.5.4), and what Azure's service says in its place.
_DUPLICATE: Final = frozenset({0x0111, 0xB00E})


@dataclass(frozen=True, slots=True)
class Told:
    """What a response says of an instance.

    Attributes
    ----------
    outcome : Outcome
    status : int, optional
        0 for what is stored, else its Warning or Failure Reason, 0 to 0xFFFF; None when it gives none that is a number.
    words : str
        Ours, where the status alone would say something else; "" where it says it all.
    comment : str
        The service's own, which may name a patient.
    """

    outcome: Outcome
    status: int | None = None
    words: str = ""
    comment: str = ""


NOT_NAMED: Final = Told(Outcome.REFUSED, words="the store response does not name it")


def parse(body: bytes) -> Mapping[str, Any] | None:
    """A store response as an object of the DICOM JSON model; None when it is none."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if isinstance(found, list) and len(found) == 1:  # some wrap it, as PS3.18 Annex F has it for searches
        [found] = found
    if not isinstance(found, dict) or not found.keys() & {_REFERENCED_SOP_SEQUENCE, _FAILED_SOP_SEQUENCE}:
        return None
    return found


def told(response: Mapping[str, Any], *, duplicates_are_delivered: bool = False) -> dict[str, Told]:
    """What it says, by SOP Instance UID; what it names as stored and as failed has failed."""
    found = {uid: _stored(item) for uid, item in _items(response, _REFERENCED_SOP_SEQUENCE)}
    for uid, item in _items(response, _FAILED_SOP_SEQUENCE):
        found[uid] = _failed(item, duplicates_are_delivered=duplicates_are_delivered)
    return found


def _stored(item: Mapping[str, Any]) -> Told:
    reason = _number(item, _WARNING_REASON)
    if not reason:
        return Told(Outcome.DELIVERED, 0)
    return Told(Outcome.WARNING, reason, comment=_comment(item))


def _failed(item: Mapping[str, Any], *, duplicates_are_delivered: bool) -> Told:
    reason, comment = _number(item, _FAILURE_REASON), _comment(item)
    if reason is None:
        return Told(Outcome.REFUSED, words="failed, and the store response gives no reason", comment=comment)
    if reason in _DUPLICATE:
        outcome = Outcome.WARNING if duplicates_are_delivered else Outcome.REFUSED
        return Told(outcome, reason, "the service has an instance of that UID already", comment)
    outcome = status_row(reason).outcome
    if outcome in (Outcome.DELIVERED, Outcome.WARNING):
        words = f"failed with 0x{reason:04X}, which is no number of a failure"
        return Told(Outcome.REFUSED, reason, words, comment)
    return Told(outcome, reason, comment=comment)


def _items(response: Mapping[str, Any], tag: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The items of a sequence that name an instance."""
    for item in _values(response, tag):
        if isinstance(item, dict):
            uid = next(iter(_values(item, _REFERENCED_SOP_INSTANCE_UID)), None)
            if isinstance(uid, str):
                yield uid.rstrip("\0 "), item


def _values(item: Mapping[str, Any], tag: str) -> list[Any]:
    element = item.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return values if isinstance(values, list) else []


def _number(item: Mapping[str, Any], tag: str) -> int | None:
    """A value of VR US; some write it as text."""
    value = next(iter(_values(item, tag)), None)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 6:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 0xFFFF:
        return None
    return value


def _comment(item: Mapping[str, Any]) -> str:
    value = next(iter(_values(item, _ERROR_COMMENT)), "")
    return shown(value[:_LONGEST_COMMENT]) if isinstance(value, str) else ""
