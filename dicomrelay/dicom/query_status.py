"""What the statuses of C-FIND, C-MOVE and C-GET mean (PS3.4 Tables C.4-1, C.4-2, C.4-3 and K.4-2)."""

from __future__ import annotations

from enum import Enum
from typing import Final

from dicomrelay.dicom.status import Status, is_warning, status_row


class Finality(Enum):
    """What a response means for the operation."""

    PENDING = "pending"
    SUCCESS = "success"
    WARNING = "warning"
    CANCELLED = "cancelled"
    FAILURE = "failure"


SUB_OPERATIONS_WITH_FAILURES: Final = 0xB000
CANCELLED: Final = 0xFE00
PENDING: Final = 0xFF00
PENDING_UNSUPPORTED_KEYS: Final = 0xFF01

# Where these services mean another thing than storage does, or more can be said; the rest is in `dicom.status`.
_WORDS: Final = {
    0x0122: "SOP class not supported: the peer does not serve this model",
    0x0124: "not authorised: the peer does not let us ask this",
    0x0211: "unrecognised operation: the peer does not serve it",
    0xA701: "refused: out of resources, the matches cannot be counted",
    0xA702: "refused: out of resources, the instances cannot be sent",
    0xA801: "refused: the move destination is unknown to the peer; its AE title, host and port must be set up there",
    0xA900: "the identifier does not match the SOP class: a key is missing or stands at the wrong level",
    SUB_OPERATIONS_WITH_FAILURES: "complete, but some instances failed or came with warnings",
    CANCELLED: "cancelled",
    PENDING: "pending",
    PENDING_UNSUPPORTED_KEYS: "pending; some optional keys are not supported by the peer and were not matched",
}
_UNABLE_TO_PROCESS: Final = range(0xC000, 0xD000)


def finality(status: int) -> Finality:
    """What a status means. One that no table knows is a failure, never a success.

    Parameters
    ----------
    status : int
        Status (0000,0900), 0 to 0xFFFF.
    """
    if status in (PENDING, PENDING_UNSUPPORTED_KEYS):
        return Finality.PENDING
    if status == Status.SUCCESS:
        return Finality.SUCCESS
    if status == CANCELLED:
        return Finality.CANCELLED
    return Finality.WARNING if is_warning(status) else Finality.FAILURE


def query_status_name(status: int) -> str:
    """A few words for people, with the number for whoever reads the peer's conformance statement."""
    words = _WORDS.get(status)
    if words is None:
        name = status_row(status).name
        words = (
            "the peer is unable to process it" if status in _UNABLE_TO_PROCESS else name[0].lower() + name[1:]
        )
    return words if status == Status.SUCCESS else f"{words} (0x{status:04X})"
