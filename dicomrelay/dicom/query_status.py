"""What the statuses of C-FIND, C-MOVE and C-GET mean (PS3.4 Tables C.4-1, C.4-2, C.4-3 and K.4-2, PS3.7 Annex C)."""

from __future__ import annotations

from enum import Enum
from typing import Final


class Finality(Enum):
    """What a response means for the operation."""

    PENDING = "pending"
    SUCCESS = "success"
    WARNING = "warning"
    CANCELLED = "cancelled"
    FAILURE = "failure"


SUCCESS: Final = 0x0000
SUB_OPERATIONS_WITH_FAILURES: Final = 0xB000
CANCELLED: Final = 0xFE00
PENDING: Final = 0xFF00
PENDING_UNSUPPORTED_KEYS: Final = 0xFF01

_WORDS: Final = {
    SUCCESS: "success",
    0x0105: "no such attribute",
    0x0106: "invalid attribute value",
    0x0110: "processing failure",
    0x0117: "invalid SOP instance",
    0x0119: "class and instance conflict",
    0x0122: "SOP class not supported: the peer does not serve this model",
    0x0124: "not authorised: the peer does not let us ask this",
    0x0210: "duplicate invocation",
    0x0211: "unrecognised operation: the peer does not serve it",
    0x0212: "mistyped argument",
    0x0213: "resource limitation",
    0xA700: "refused: out of resources",
    0xA701: "refused: out of resources, the matches cannot be counted",
    0xA702: "refused: out of resources, the instances cannot be sent",
    0xA801: "refused: the move destination is unknown to the peer; its AE title, host and port must be set up there",
    0xA900: "the identifier does not match the SOP class: a key is missing or stands at the wrong level",
    SUB_OPERATIONS_WITH_FAILURES: "complete, but some instances failed or came with warnings",
    CANCELLED: "cancelled",
    PENDING: "pending",
    PENDING_UNSUPPORTED_KEYS: "pending; some optional keys are not supported by the peer and were not matched",
}
_RANGES: Final = (
    (0xFF00, 0xA700, "refused: out of resources"),
    (0xF000, 0xC000, "the peer is unable to process it"),
    (0xF000, 0xA000, "refused by the peer"),
    (0xF000, 0xB000, "complete with a warning"),
)


def finality(status: int) -> Finality:
    """What a status means. One that no table knows is a failure, never a success.

    Parameters
    ----------
    status : int
        Status (0000,0900), 0 to 0xFFFF.
    """
    if status in (PENDING, PENDING_UNSUPPORTED_KEYS):
        return Finality.PENDING
    if status == SUCCESS:
        return Finality.SUCCESS
    if status == CANCELLED:
        return Finality.CANCELLED
    # PS3.7 Annex C.1.2: 0001, 0107, 0116 and Bxxx are the warnings.
    if status & 0xF000 == 0xB000 or status in (0x0001, 0x0107, 0x0116):
        return Finality.WARNING
    return Finality.FAILURE


def query_status_name(status: int) -> str:
    """A few words for people, with the number for whoever reads the peer's conformance statement."""
    words = _WORDS.get(status)
    if words is None:
        words = next(
            (name for mask, value, name in _RANGES if status & mask == value), "a status we do not know"
        )
    return words if status == SUCCESS else f"{words} (0x{status:04X})"
