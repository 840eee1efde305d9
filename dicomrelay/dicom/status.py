"""DIMSE status codes (PS3.7 Annex C, PS3.4 Table B.2-1) and what a C-STORE response means for a delivery.

`STATUSES` is the table; everything else here reads it. Faults that are no status join it in `net.outcomes`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Final


class Status(IntEnum):
    """The codes that we answer with."""

    SUCCESS = 0x0000
    PROCESSING_FAILURE = 0x0110
    INVALID_SOP_INSTANCE = 0x0117
    SOP_CLASS_NOT_SUPPORTED = 0x0122
    NOT_AUTHORIZED = 0x0124
    UNRECOGNISED_OPERATION = 0x0211
    OUT_OF_RESOURCES = 0xA700
    DATA_SET_DOES_NOT_MATCH_SOP_CLASS = 0xA900
    CANNOT_UNDERSTAND = 0xC000


class Outcome(Enum):
    """What a response means for the instance that was sent."""

    DELIVERED = "delivered"
    WARNING = "warning"  # delivered, with a remark to keep
    RETRY = "retry"  # the same bytes may be taken later
    REFUSED = "refused"  # the same bytes will be refused again


@dataclass(frozen=True, slots=True)
class StatusRow:
    """What a range of statuses means.

    Attributes
    ----------
    first, last : int
        0 to 0xFFFF, both within.
    name : str
        A few words for people.
    advice : str
        What to do next, one line; empty where there is nothing to do.
    reference : str
        Where the standard says so; empty when it does not know the status.
    """

    first: int
    last: int
    outcome: Outcome
    name: str
    advice: str = ""
    reference: str = ""


_STORE: Final = "PS3.4 Table B.2-1"
_STOW: Final = "PS3.18 Table I.2-2"
_GENERAL: Final = "PS3.7 Annex C"
_ASK_PEER: Final = "The peer's log says why; when it is mended, send the instance again."
_KEPT: Final = "The peer has the instance. "
_BY_ITSELF: Final = "Nothing now, it is sent again by itself; "
_MEND: Final = "The instance itself is at fault: mend it where it was made and send that."
_REPORT: Final = "Peer and relay disagree about the protocol: report it with the logs of both ends."


def _one(status: int, outcome: Outcome, name: str, advice: str = "", reference: str = _GENERAL) -> StatusRow:
    return StatusRow(status, status, outcome, name, advice, reference)


# The first row that holds a status counts: single codes stand before the ranges they lie in.
STATUSES: Final = (
    _one(0x0000, Outcome.DELIVERED, "Success", reference=_STORE),
    _one(0xB000, Outcome.WARNING, "Coercion of data elements",
         _KEPT + "It changed some elements: compare when they matter.", _STORE),
    _one(0xB006, Outcome.WARNING, "Elements discarded",
         _KEPT + "It dropped elements that it does not know, private ones mostly.", _STORE),
    _one(0xB007, Outcome.WARNING, "Data set does not match SOP class",
         _KEPT + "It finds the object odd for its SOP class: look at where it was made.", _STORE),
    StatusRow(0xB000, 0xBFFF, Outcome.WARNING, "Warning",
              _KEPT + "The comment or the peer's conformance statement says what it remarks.", _GENERAL),
    _one(0x0001, Outcome.WARNING, "Requested optional attributes not supported",
         _KEPT + "It left optional attributes out."),
    _one(0x0107, Outcome.WARNING, "Attribute list error", _KEPT + "It did not take some attributes."),
    _one(0x0116, Outcome.WARNING, "Attribute value out of range", _KEPT + "A value is out of its range there."),
    StatusRow(0xA700, 0xA7FF, Outcome.RETRY, "Refused: out of resources",
              _BY_ITSELF + "if it lasts, make room on the peer's disk.", _STORE),
    _one(0x0110, Outcome.RETRY, "Processing failure",
         _BY_ITSELF + "if it lasts, the peer's log says what failed there."),
    _one(0x0213, Outcome.RETRY, "Resource limitation",
         _BY_ITSELF + "if it lasts, give the destination fewer associations."),
    _one(0xFE00, Outcome.RETRY, "Cancel", _BY_ITSELF + "somebody at the peer stopped it."),
    StatusRow(0xA900, 0xA9FF, Outcome.REFUSED, "Error: data set does not match SOP class", _MEND, _STORE),
    _one(0xC122, Outcome.REFUSED, "Referenced transfer syntax not supported",
         "The peer does not take this transfer syntax: let its administrator enable it.", _STOW),
    StatusRow(0xC000, 0xCFFF, Outcome.REFUSED, "Error: cannot understand", _ASK_PEER, _STORE),
    _one(0x0105, Outcome.REFUSED, "No such attribute", _ASK_PEER),
    _one(0x0106, Outcome.REFUSED, "Invalid attribute value", _MEND),
    _one(0x0111, Outcome.REFUSED, "Duplicate SOP Instance",
         "The peer has an instance of that UID: see there whether it is the same one."),
    _one(0x0112, Outcome.REFUSED, "No such SOP Instance", _ASK_PEER),
    _one(0x0113, Outcome.REFUSED, "No such event type", _REPORT),
    _one(0x0114, Outcome.REFUSED, "No such argument", _REPORT),
    _one(0x0115, Outcome.REFUSED, "Invalid argument value", _REPORT),
    _one(0x0117, Outcome.REFUSED, "Invalid SOP Instance",
         "The SOP Instance UID breaks the rules or the peer's own: mend it where it was made."),
    _one(0x0118, Outcome.REFUSED, "No such SOP class", "Let the peer's administrator enable the SOP class."),
    _one(0x0119, Outcome.REFUSED, "Class and instance conflict", _MEND),
    _one(0x0120, Outcome.REFUSED, "Missing attribute", _MEND),
    _one(0x0121, Outcome.REFUSED, "Missing attribute value", _MEND),
    _one(0x0122, Outcome.REFUSED, "SOP class not supported",
         "Let the peer's administrator enable the SOP class, or route it elsewhere by a rule.", _STORE),
    _one(0x0123, Outcome.REFUSED, "No such action type", _REPORT),
    _one(0x0124, Outcome.REFUSED, "Not authorised",
         "Let the peer's administrator allow our AE title to store."),
    _one(0x0210, Outcome.REFUSED, "Duplicate invocation", _REPORT),
    _one(0x0211, Outcome.REFUSED, "Unrecognised operation", "The peer does not do C-STORE: is it the right port?"),
    _one(0x0212, Outcome.REFUSED, "Mistyped argument", _REPORT),
    StatusRow(0x0100, 0x02FF, Outcome.REFUSED, "Failure", _ASK_PEER),
    StatusRow(0xA000, 0xAFFF, Outcome.REFUSED, "Failure", _ASK_PEER, _GENERAL),
    StatusRow(0xFF00, 0xFF01, Outcome.REFUSED, "Pending", _REPORT, _GENERAL),
    StatusRow(0x0000, 0xFFFF, Outcome.REFUSED, "Unknown status",
              "The standard does not know this status, so it is no success: ask the peer's maker what it means."),
)  # fmt: skip

_SUCCESS: Final = STATUSES[0]


def status_row(status: int) -> StatusRow:
    """The row of a status; one that is no number of 16 bits has the last, the unknown, which is never success.

    References: PS3.4 Table B.2-1, PS3.7 Annex C.
    """
    if status == Status.SUCCESS:
        return _SUCCESS
    return next((row for row in STATUSES if row.first <= status <= row.last), STATUSES[-1])


def is_warning(status: int) -> bool:
    """Whether it was done, with a remark: 0001, 0107, 0116 and Bxxx (PS3.7 Annex C.1.2)."""
    return status_row(status).outcome is Outcome.WARNING


def status_name(status: int) -> str:
    """A few words for a status code, for people; with its number where others have the same words."""
    row = status_row(status)
    if row.first == row.last or (row.reference == _STORE and status == row.first):
        return row.name
    return f"{row.name} 0x{status:04X}"
