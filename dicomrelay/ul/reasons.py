"""The reasons of PS3.8 Tables 9-21 and 9-26 in words, for people who read a log."""

from __future__ import annotations

from typing import Final

from dicomrelay.ul.pdu import AbortReason, AssociateReject

REJECT_RESULTS: Final = {1: "permanently", 2: "for now"}
REJECT_REASONS: Final = {
    (1, 1): "no reason given",
    (1, 2): "application context name not supported",
    (1, 3): "calling AE title not recognized",
    (1, 7): "called AE title not recognized",
    (2, 1): "no reason given",
    (2, 2): "protocol version not supported",
    (3, 1): "temporary congestion",
    (3, 2): "local limit exceeded",
}
UNKNOWN_REASON: Final = "for a reason the standard does not know"

ABORT_REASONS: Final = {
    AbortReason.NOT_SPECIFIED: "no reason given",
    AbortReason.UNRECOGNIZED_PDU: "unrecognized PDU",
    AbortReason.UNEXPECTED_PDU: "unexpected PDU",
    AbortReason.UNRECOGNIZED_PARAMETER: "unrecognized PDU parameter",
    AbortReason.UNEXPECTED_PARAMETER: "unexpected PDU parameter",
    AbortReason.INVALID_PARAMETER_VALUE: "invalid PDU parameter value",
}


def rejection_in_words(reject: AssociateReject) -> str:
    """Such as "for now: local limit exceeded (2, 3, 2)"."""
    result = REJECT_RESULTS.get(reject.result, "with an unknown result")
    reason = REJECT_REASONS.get((reject.source, reject.reason), UNKNOWN_REASON)
    return f"{result}: {reason} ({reject.result}, {reject.source}, {reject.reason})"
