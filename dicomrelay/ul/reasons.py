"""The reasons of PS3.8 Table 9-21 in words, for people who read a log."""

from __future__ import annotations

from typing import Final

from dicomrelay.ul.pdu import AssociateReject

_RESULTS: Final = {1: "permanently", 2: "for now"}
_REASONS: Final = {
    (1, 1): "no reason given",
    (1, 2): "application context name not supported",
    (1, 3): "calling AE title not recognized",
    (1, 7): "called AE title not recognized",
    (2, 1): "no reason given",
    (2, 2): "protocol version not supported",
    (3, 1): "temporary congestion",
    (3, 2): "local limit exceeded",
}


def rejection_in_words(reject: AssociateReject) -> str:
    """Such as "for now: local limit exceeded (2, 3, 2)"."""
    result = _RESULTS.get(reject.result, "with an unknown result")
    reason = _REASONS.get((reject.source, reject.reason), "for a reason the standard does not know")
    return f"{result}: {reason} ({reject.result}, {reject.source}, {reject.reason})"
