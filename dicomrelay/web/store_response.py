"""The store response of STOW-RS: what it says of each instance (PS3.18 Section 10.5.3 and Annex I, PS3.3 Annex CC.1). No I/O."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from dicomrelay.dicom.status import Outcome, status_row
from dicomrelay.text import shown

_REFERENCED_SOP_SEQUENCE: Final = "00081199"
_FAILED_SOP_SEQUENCE: Final = "00081198"
_OTHER_FAILURES_SEQUENCE: Final = "0008119A"
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


@dataclass(frozen=True, slots=True)
class StoreResponse:
    """A store response.

    Attributes
    ----------
    named : mapping
        By SOP Instance UID.
    others : Told, optional
        Why something failed that it does not name: Other Failures Sequence (0008,119A). It is never a delivery.
    """

    named: Mapping[str, Told]
    others: Told | None = None

    def of(self, sop_instance_uid: str) -> Told | None:
        """What it says of an instance; None: nothing."""
        return self.named.get(sop_instance_uid) or self.others


def parse(body: bytes, *, duplicates_are_delivered: bool = False) -> StoreResponse | None:
    """Read an object of the DICOM JSON model; None when it is none, or neither names an instance nor gives a reason."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if isinstance(found, list) and len(found) == 1:  # some wrap it, as PS3.18 Annex F has it for searches
        [found] = found
    if not isinstance(found, dict):
        return None
    named = {uid: _stored(item) for uid, item in _items(found, _REFERENCED_SOP_SEQUENCE)}
    for uid, item in _items(found, _FAILED_SOP_SEQUENCE):  # what is in both has failed
        named[uid] = _failed(item, duplicates_are_delivered=duplicates_are_delivered)
    others = _others(found)
    return StoreResponse(named, others) if named or others else None


def _others(found: Mapping[str, Any]) -> Told | None:
    """The reason for what is not named; of several, one that may pass, as nobody knows whose is whose."""
    reasons = [
        _failed(item, duplicates_are_delivered=False)
        for item in _values(found, _OTHER_FAILURES_SEQUENCE)
        if isinstance(item, dict)
    ]
    return next((each for each in reasons if each.outcome is Outcome.RETRY), next(iter(reasons), None))


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
    """A value of VR US; some write it as text, or with a point."""
    value = next(iter(_values(item, tag)), None)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 6:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 0xFFFF:
        return None
    return value


def _comment(item: Mapping[str, Any]) -> str:
    value = next(iter(_values(item, _ERROR_COMMENT)), "")
    return shown(value[:_LONGEST_COMMENT]) if isinstance(value, str) else ""
