"""The data sets of storage commitment on the side that commits: a request from bytes, a report to bytes (PS3.4 Annex J).

The request is read by the same walk as a report: what a peer sends is counted before memory is spent on it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dicomrelay.dicom.commitment import (
    REQUEST_STORAGE_COMMITMENT,
    STORAGE_COMMITMENT_PUSH_MODEL,
    STORAGE_COMMITMENT_PUSH_MODEL_INSTANCE,
    EventType,
    ReportStatus,
)
from dicomrelay.dicom.elements import text
from dicomrelay.dicom.transfer_syntaxes import IMPLICIT_VR_LITTLE_ENDIAN
from dicomrelay.dicom.uids import is_tolerable_uid
from dicomrelay.dimse.commitment import (
    FAILED_SOP_SEQUENCE,
    FAILURE_REASON,
    REFERENCED_SOP_CLASS_UID,
    REFERENCED_SOP_INSTANCE_UID,
    REFERENCED_SOP_SEQUENCE,
    TOP,
    TRANSACTION_UID,
    CommitmentReader,
    TooMany,
    element_encoder,
    item_bytes,
    uid_bytes,
)
from dicomrelay.dimse.messages import NActionRequest
from dicomrelay.errors import MalformedDataSet

_RETRIEVE_AE_TITLE: Final = 0x0008_0054
# PS3.7 Section 10.1.4.1.10; the other statuses are those of a report.
NO_SUCH_ACTION: Final = 0x0123

# SOP class and SOP instance UID.
Reference = tuple[str, str]


@dataclass(frozen=True, slots=True)
class CommitmentRequested:
    """What a peer wants to be committed to; each instance once, in the order in which it was named."""

    transaction_uid: str
    references: tuple[Reference, ...]


@dataclass(frozen=True, slots=True)
class CommitmentResult:
    """What is said of each reference of a request.

    Attributes
    ----------
    failed : tuple of (str, str, int)
        SOP class, SOP instance UID and Failure Reason.
    """

    committed: tuple[Reference, ...]
    failed: tuple[tuple[str, str, int], ...] = ()

    @property
    def event_type(self) -> EventType:
        """1 when all is committed to, else 2 (PS3.4 Section J.3.3.1.2)."""
        return EventType.FAILURES_EXIST if self.failed else EventType.SUCCESSFUL


class ActionRefused(MalformedDataSet):
    """A request that is not taken; `status` is what it is answered."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


def read_action(
    request: NActionRequest, information: bytes | None, transfer_syntax_uid: str
) -> CommitmentRequested:
    """A request for storage commitment, from its message and its data set.

    Parameters
    ----------
    information : bytes or None
        None when it was over its bound.

    Raises
    ------
    ActionRefused
        It is of another SOP class, SOP instance or action, beyond the bounds, or cannot be read. No value is quoted.
    """
    if request.sop_class_uid != STORAGE_COMMITMENT_PUSH_MODEL:
        raise ActionRefused(ReportStatus.NO_SUCH_SOP_CLASS, "another SOP class than storage commitment")
    if request.sop_instance_uid != STORAGE_COMMITMENT_PUSH_MODEL_INSTANCE:
        raise ActionRefused(ReportStatus.NO_SUCH_SOP_INSTANCE, "another SOP instance than the well-known one")
    if request.action_type_id != REQUEST_STORAGE_COMMITMENT:
        raise ActionRefused(NO_SUCH_ACTION, "another action than 1")
    if information is None:
        raise ActionRefused(ReportStatus.RESOURCE_LIMITATION, "the request is too large")
    try:
        return _decoded(information, transfer_syntax_uid)
    except TooMany:
        raise ActionRefused(
            ReportStatus.RESOURCE_LIMITATION, "too many references, ask in several transactions"
        ) from None
    except ActionRefused:
        raise
    except MalformedDataSet:
        raise ActionRefused(
            ReportStatus.INVALID_ARGUMENT_VALUE, "the action information cannot be read"
        ) from None


def _decoded(raw: bytes, transfer_syntax_uid: str) -> CommitmentRequested:
    reader = CommitmentReader(raw, implicit=transfer_syntax_uid == IMPLICIT_VR_LITTLE_ENDIAN)
    found, _ = reader.elements(0, len(raw), 0, TOP, is_bounded=True)
    transaction_uid = _text(found.get(TRANSACTION_UID))
    if not is_tolerable_uid(transaction_uid):
        raise ActionRefused(ReportStatus.INVALID_ARGUMENT_VALUE, "Transaction UID is missing or is no UID")
    items = found.get(REFERENCED_SOP_SEQUENCE)
    if not isinstance(items, list) or not items:
        raise ActionRefused(ReportStatus.INVALID_ARGUMENT_VALUE, "Referenced SOP Sequence is missing")
    references: dict[str, str] = {}
    for item in items:
        sop_class_uid = _text(item.get(REFERENCED_SOP_CLASS_UID))
        sop_instance_uid = _text(item.get(REFERENCED_SOP_INSTANCE_UID))
        if not is_tolerable_uid(sop_class_uid) or not is_tolerable_uid(sop_instance_uid):
            raise ActionRefused(
                ReportStatus.INVALID_ARGUMENT_VALUE, "a reference lacks one of its UIDs, or it is none"
            )
        if references.setdefault(sop_instance_uid, sop_class_uid) != sop_class_uid:
            raise ActionRefused(
                ReportStatus.INVALID_ARGUMENT_VALUE, "an instance is named with two SOP classes"
            )
    return CommitmentRequested(
        transaction_uid,
        tuple((sop_class, sop_instance) for sop_instance, sop_class in references.items()),
    )


def _text(value: object) -> str:
    return text(value) if isinstance(value, bytes) else ""


def encode_report(
    transaction_uid: str, result: CommitmentResult, transfer_syntax_uid: str, *, retrieve_ae_title: str = ""
) -> bytes:
    """The event information of a report (PS3.4 Table J.3-2).

    Parameters
    ----------
    transfer_syntax_uid : str
        Explicit or implicit VR little endian.
    retrieve_ae_title : str
        Where what is committed to can be retrieved; "" to say nothing.
    """
    encode = element_encoder(transfer_syntax_uid)

    def item(sop_class_uid: str, sop_instance_uid: str, reason: int | None = None) -> bytes:
        elements = encode(REFERENCED_SOP_CLASS_UID, b"UI", uid_bytes(sop_class_uid))
        elements += encode(REFERENCED_SOP_INSTANCE_UID, b"UI", uid_bytes(sop_instance_uid))
        if reason is not None:
            elements += encode(FAILURE_REASON, b"US", struct.pack("<H", reason))
        return item_bytes(elements)

    parts: list[bytes] = []
    if retrieve_ae_title and result.committed:
        title = retrieve_ae_title.encode("ascii")
        parts.append(encode(_RETRIEVE_AE_TITLE, b"AE", title + b" " * (len(title) & 1)))
    parts.append(encode(TRANSACTION_UID, b"UI", uid_bytes(transaction_uid)))
    sequences: Sequence[tuple[int, list[bytes]]] = (
        (FAILED_SOP_SEQUENCE, [item(*each) for each in result.failed]),
        (REFERENCED_SOP_SEQUENCE, [item(*each) for each in result.committed]),
    )
    parts += [encode(tag, b"SQ", b"".join(items)) for tag, items in sequences if items]
    return b"".join(parts)
