"""Storage commitment: its UIDs, what a report says of an instance, and what that asks for (PS3.4 Annex J, PS3.3 Section C.14)."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Final

# PS3.6 Table A-1; the instance is well known, nobody makes it (PS3.4 Section J.3.5).
STORAGE_COMMITMENT_PUSH_MODEL: Final = "1.2.840.10008.1.20.1"
STORAGE_COMMITMENT_PUSH_MODEL_INSTANCE: Final = "1.2.840.10008.1.20.1.1"
# PS3.4 Section J.3.2.1.
REQUEST_STORAGE_COMMITMENT: Final = 1


class EventType(IntEnum):
    """Event Type ID (0000,1002) of a report (PS3.4 Table J.3-2)."""

    SUCCESSFUL = 1
    FAILURES_EXIST = 2


class ReportStatus(IntEnum):
    """What an N-EVENT-REPORT is answered (PS3.7 Section 10.1.1.1.8)."""

    SUCCESS = 0x0000
    PROCESSING_FAILURE = 0x0110
    NO_SUCH_SOP_INSTANCE = 0x0112
    NO_SUCH_EVENT_TYPE = 0x0113
    INVALID_ARGUMENT_VALUE = 0x0115  # the Transaction UID is none of ours
    NO_SUCH_SOP_CLASS = 0x0118
    RESOURCE_LIMITATION = 0x0213


class Remedy(Enum):
    """What to do about an instance that is not committed."""

    ASK_AGAIN = "ask again"
    SEND_AGAIN = "send again"
    ATTENTION = "needs attention"


@dataclass(frozen=True, slots=True)
class Failure:
    """What a Failure Reason (0008,1197) means.

    Attributes
    ----------
    name : str
        Words for people.
    advice : str
        What somebody has to do; "" where we do it ourselves.
    """

    name: str
    remedy: Remedy
    advice: str = ""


# PS3.3 Section C.14.1.1.
FAILURES: Final = {
    0x0110: Failure("processing failure", Remedy.ASK_AGAIN),
    0x0112: Failure("no such object instance", Remedy.SEND_AGAIN),
    0x0119: Failure(
        "class / instance conflict",
        Remedy.ATTENTION,
        "The destination has another object under that SOP Instance UID: compare the two there.",
    ),
    0x0122: Failure(
        "referenced SOP class not supported",
        Remedy.ATTENTION,
        'The destination commits to no such object: set its verification to "find", or let its administrator enable it.',
    ),
    0x0131: Failure("duplicate Transaction UID", Remedy.ASK_AGAIN),
    0x0213: Failure("resource limitation", Remedy.ASK_AGAIN),
}


def failure(reason: int) -> Failure:
    """The row of a Failure Reason; one that the standard does not know is worth another question.

    Parameters
    ----------
    reason : int
        0 to 0xFFFF.
    """
    return FAILURES.get(reason) or Failure(f"failure reason 0x{reason:04X}", Remedy.ASK_AGAIN)


def new_transaction_uid() -> str:
    """A Transaction UID (0008,1195): a random UUID under 2.25 (PS3.5 Annex B.2), so that nobody guesses it."""
    return f"2.25.{uuid.uuid4().int}"
