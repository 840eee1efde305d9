"""Tables of what is answered: the codes are those of the code, and each has its words here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from dicomrelay.cli.conforming.cells import table
from dicomrelay.dicom import commitment
from dicomrelay.dicom.commitment import ReportStatus
from dicomrelay.dicom.status import STATUSES, Outcome, Status
from dicomrelay.net import provider
from dicomrelay.settings import Settings
from scp_gateway import identity, reception

# PS3.8 Table 9-21: said by the upper layer itself.
PROTOCOL_VERSION: Final = (1, 2, 2)
REJECTIONS: Final[Mapping[tuple[int, int, int], str]] = {
    (each.result, each.source, each.reason): words
    for each, words in (
        (provider.ADDRESS_NOT_ADMITTED, "no peer may call from that address"),
        (provider.WRONG_APPLICATION_CONTEXT, "application context not supported"),
        (
            reception.CALLING_AE_TITLE_NOT_RECOGNISED,
            "no `[[peers]]` entry fits calling AE title, address and certificate",
        ),
        (
            reception.CALLED_AE_TITLE_NOT_RECOGNISED,
            "called AE title is not ours, when `gateway.check_called_ae_title`",
        ),
        (identity.NOT_AUTHENTICATED, "user identity does not hold, or is missing and required"),
        (
            provider.LOCAL_LIMIT_EXCEEDED,
            "no place, in all, for strangers, for the address or for the `[[peers]]` entry; too many failed identities",
        ),
        (provider.NO_REASON_FOR_NOW, "a fault of our own"),
    )
} | {PROTOCOL_VERSION: "protocol version not supported"}

_STORE: Final[Mapping[Status, tuple[str, str]]] = {
    Status.SUCCESS: ("it is durable", "–"),
    Status.PROCESSING_FAILURE: ("a fault of our own", "send again"),
    Status.INVALID_SOP_INSTANCE: ("the SOP Instance UID of the command is no UID", "correct it"),
    Status.SOP_CLASS_NOT_SUPPORTED: (
        "the SOP class of the command is not stored here",
        "see `gateway.private_sop_classes`",
    ),
    Status.NOT_AUTHORIZED: ("the peer has no right to store", "`rights` of its `[[peers]]` entry"),
    Status.UNRECOGNISED_OPERATION: ("an operation that the gateway does not do", "–"),
    Status.OUT_OF_RESOURCES: (
        "free space is under `gateway.min_free_bytes`, or it could not be stored durably",
        "send again later; it is accepted again by itself",
    ),
    Status.DATA_SET_DOES_NOT_MATCH_SOP_CLASS: (
        "the UIDs of the data set are not those of the command",
        "correct the instance",
    ),
    Status.CANNOT_UNDERSTAND: ("the data set cannot be read as far as its UIDs", "correct the instance"),
}

_REPORTS: Final[Mapping[ReportStatus, str]] = {
    ReportStatus.SUCCESS: "it is durable; also when it comes again",
    ReportStatus.PROCESSING_FAILURE: "it cannot be read, or has no Transaction UID",
    ReportStatus.NO_SUCH_SOP_INSTANCE: "another SOP instance than 1.2.840.10008.1.20.1.1",
    ReportStatus.NO_SUCH_EVENT_TYPE: "neither event type 1 nor 2",
    ReportStatus.INVALID_ARGUMENT_VALUE: "the Transaction UID is of no request of ours to that destination",
    ReportStatus.NO_SUCH_SOP_CLASS: "another SOP class",
    ReportStatus.RESOURCE_LIMITATION: "over 8 MiB or 20,000 instances, or it cannot be kept",
}
_OUTCOMES: Final = {
    Outcome.DELIVERED: "delivered",
    Outcome.WARNING: "delivered, with a warning that is kept",
    Outcome.RETRY: "sent again by itself, `destinations.retry_attempts` times",
    Outcome.REFUSED: "listed as needing attention",
}


def rejections(_settings: Settings) -> str:
    """Every A-ASSOCIATE-RJ."""
    return table(
        ["rejection", "result", "source", "reason"],
        ([words, *map(str, numbers)] for numbers, words in sorted(REJECTIONS.items())),
    )


def store_statuses(_settings: Settings) -> str:
    """What a C-STORE request is answered."""
    return table(
        ["status", "when", "what to do"], ([f"{status:04X}", *_STORE[status]] for status in sorted(Status))
    )


def statuses_of_peers(_settings: Settings) -> str:
    """What each answer to our own C-STORE means."""
    rows = []
    for each in STATUSES:
        codes = f"{each.first:04X}" if each.first == each.last else f"{each.first:04X} to {each.last:04X}"
        rows.append(
            [
                "any other" if (each.first, each.last) == (0, 0xFFFF) else codes,
                each.name,
                _OUTCOMES[each.outcome],
            ]
        )
    return table(["status that a peer answers", "is", "then"], rows)


def report_answers(_settings: Settings) -> str:
    """What a report of storage commitment is answered."""
    return table(["answer to a report", "when"], ([f"{each:04X}", _REPORTS[each]] for each in ReportStatus))


def failure_reasons(_settings: Settings) -> str:
    """What a Failure Reason leads to."""
    return table(
        ["failure reason", "then"],
        ([f"{code:04X}", each.remedy.value] for code, each in commitment.FAILURES.items()),
    )
