"""DIMSE status codes (PS3.7 Annex C, PS3.4 Table B.2-1) and what a C-STORE response means for a delivery."""

from __future__ import annotations

from enum import Enum, IntEnum


class Status(IntEnum):
    """The codes that we answer with."""

    SUCCESS = 0x0000
    PROCESSING_FAILURE = 0x0110
    INVALID_SOP_INSTANCE = 0x0117
    SOP_CLASS_NOT_SUPPORTED = 0x0122
    NOT_AUTHORISED = 0x0124
    UNRECOGNISED_OPERATION = 0x0211
    OUT_OF_RESOURCES = 0xA700
    DATA_SET_DOES_NOT_MATCH_SOP_CLASS = 0xA900
    WARNING_COERCION = 0xB000
    WARNING_ELEMENTS_DISCARDED = 0xB006
    WARNING_DOES_NOT_MATCH = 0xB007
    CANNOT_UNDERSTAND = 0xC000
    CANCEL = 0xFE00
    PENDING = 0xFF00


class Outcome(Enum):
    """What a response means for the instance that was sent."""

    DELIVERED = "delivered"
    WARNING = "warning"  # delivered, with a remark to keep
    RETRY = "retry"  # the same bytes may be taken later
    REFUSED = "refused"  # the same bytes will be refused again


_RETRYABLE_CODES = frozenset({0x0110, 0x0213, 0xFE00})
# Attribute warnings of PS3.7 Annex C that go with an object that was stored.
_WARNING_CODES = frozenset({0x0001, 0x0107, 0x0116})


def c_store_outcome(status: int) -> Outcome:
    """What a C-STORE response status means. A status that the standard does not know is never success.

    References: PS3.4 Table B.2-1, PS3.7 Annex C.
    """
    if status == Status.SUCCESS:
        return Outcome.DELIVERED
    if status & 0xF000 == 0xB000 or status in _WARNING_CODES:
        return Outcome.WARNING
    if status & 0xFF00 == 0xA700 or status in _RETRYABLE_CODES:
        return Outcome.RETRY
    return Outcome.REFUSED


_NAMES = {
    0x0000: "Success",
    0x0110: "Processing failure",
    0x0111: "Duplicate SOP Instance",
    0x0112: "No such SOP Instance",
    0x0117: "Invalid SOP Instance",
    0x0122: "SOP class not supported",
    0x0124: "Not authorised",
    0x0210: "Duplicate invocation",
    0x0211: "Unrecognised operation",
    0x0212: "Mistyped argument",
    0x0213: "Resource limitation",
    0xB000: "Coercion of data elements",
    0xB006: "Elements discarded",
    0xB007: "Data set does not match SOP class",
    0xFE00: "Cancel",
}


def status_name(status: int) -> str:
    """A few words for a status code, for people."""
    if status in _NAMES:
        return _NAMES[status]
    for mask, value, name in (
        (0xFF00, 0xA700, "Refused: out of resources"),
        (0xFF00, 0xA900, "Error: data set does not match SOP class"),
        (0xF000, 0xC000, "Error: cannot understand"),
        (0xF000, 0xB000, "Warning"),
        (0xFF00, 0xFF00, "Pending"),
    ):
        if status & mask == value:
            return name
    return f"Unknown status 0x{status:04X}"
