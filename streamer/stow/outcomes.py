"""What became of the instances of a request, and the answer that says so (PS3.18 Section 10.5.3, PS3.3 Annex CC.2). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dicomrelay.dicom.status import Status
from dicomrelay.dicom.uids import is_tolerable_uid

# Beside the statuses of C-STORE (PS3.18 Table 10.5.3-2 leaves the last digits of Cxxx to us).
SYNTAX_NOT_SUPPORTED: Final = 0xC122
OTHER_STUDY: Final = 0xC409
_LONGEST_COMMENT: Final = 64
_OUT_OF_RESOURCES: Final = range(0xA700, 0xA800)


@dataclass(frozen=True, slots=True)
class Stored:
    """It is durable."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str


@dataclass(frozen=True, slots=True)
class Failed:
    """It is not; UIDs as far as they are known. `is_request` says that the request is at fault, not what it brings."""

    status: int
    comment: str
    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    is_request: bool = False


Outcome = Stored | Failed


def http_status(outcomes: Sequence[Outcome]) -> int:
    """200 all stored, 202 some; of none 503 for want of room, 400 where the request is at fault, else 409."""
    failed = [each for each in outcomes if isinstance(each, Failed)]
    if not failed:
        return 200 if outcomes else 400
    if len(failed) < len(outcomes):
        return 202
    if all(each.status in _OUT_OF_RESOURCES for each in failed):
        return 503
    return 400 if all(each.is_request or each.status == Status.CANNOT_UNDERSTAND for each in failed) else 409


def as_json(outcomes: Sequence[Outcome], *, base: str, study_instance_uid: str) -> dict[str, Any]:
    """The store response.

    Parameters
    ----------
    base : str
        The beginning of addresses; "" when nothing can be retrieved here.
    study_instance_uid : str
        Of the request's address, "" for none.
    """
    stored = [each for each in outcomes if isinstance(each, Stored)]
    failed = [each for each in outcomes if isinstance(each, Failed)]
    named = [each for each in failed if is_tolerable_uid(each.sop_instance_uid)]
    others = [each for each in failed if not is_tolerable_uid(each.sop_instance_uid)]
    studies = {each.study_instance_uid for each in stored} | ({study_instance_uid} - {""})
    found: dict[str, Any] = {}
    if base and stored and len(studies) == 1:
        found["00081190"] = _element("UR", f"{base}/studies/{next(iter(studies))}")
    found |= _sequence("00081198", (_instance(each) | _reason(each) for each in named))
    found |= _sequence("00081199", (_instance(each) | _address(each, base) for each in stored))
    return found | _sequence("0008119A", map(_reason, others))


def _sequence(tag: str, items: Iterable[dict[str, Any]]) -> dict[str, Any]:
    listed = [*items]
    return {tag: {"vr": "SQ", "Value": listed}} if listed else {}


def _instance(outcome: Outcome) -> dict[str, Any]:
    found = {}
    if is_tolerable_uid(outcome.sop_class_uid):
        found["00081150"] = _element("UI", outcome.sop_class_uid)
    found["00081155"] = _element("UI", outcome.sop_instance_uid)
    return found


def _reason(failed: Failed) -> dict[str, Any]:
    # Error Comment (0000,0902), as peers have it in a C-STORE response; no attribute of the sequence says it in words.
    return {
        "00000902": _element("LO", failed.comment[:_LONGEST_COMMENT]),
        "00081197": _element("US", failed.status),
    }


def _address(stored: Stored, base: str) -> dict[str, Any]:
    if not base:
        return {}
    path = f"/studies/{stored.study_instance_uid}/series/{stored.series_instance_uid}"
    return {"00081190": _element("UR", f"{base}{path}/instances/{stored.sop_instance_uid}")}


def _element(vr: str, value: str | int) -> dict[str, Any]:
    return {"vr": vr, "Value": [value]}
