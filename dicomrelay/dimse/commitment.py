"""The data sets of storage commitment: action information to bytes, a report from bytes (PS3.4 Tables J.3-1 and J.3-2).

The report is read by a walk of our own, not by pydicom: what a peer sends is counted before memory is spent on it, and
nothing is kept but UIDs and failure reasons.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from dicomrelay.dicom.commitment import (
    STORAGE_COMMITMENT_PUSH_MODEL,
    STORAGE_COMMITMENT_PUSH_MODEL_INSTANCE,
    EventType,
    ReportStatus,
)
from dicomrelay.dicom.elements import UNDEFINED_LENGTH, ElementSyntax, tag_name, text
from dicomrelay.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from dicomrelay.dicom.uids import is_tolerable_uid
from dicomrelay.dimse.messages import NEventReportRequest
from dicomrelay.errors import MalformedDataSet

COMMITMENT_TRANSFER_SYNTAXES: Final = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)
# Twice what a report about the largest transfer takes, with a Retrieve AE Title in each item.
MAX_REPORT_BYTES: Final = 8 << 20
MAX_REFERENCES: Final = 20_000
MAX_ELEMENTS: Final = 200_000
MAX_DEPTH: Final = 4

REFERENCED_SOP_CLASS_UID: Final = 0x0008_1150
REFERENCED_SOP_INSTANCE_UID: Final = 0x0008_1155
TRANSACTION_UID: Final = 0x0008_1195
FAILURE_REASON: Final = 0x0008_1197
FAILED_SOP_SEQUENCE: Final = 0x0008_1198
REFERENCED_SOP_SEQUENCE: Final = 0x0008_1199
ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFE_E000, 0xFFFE_E00D, 0xFFFE_E0DD
_UNKNOWN_REASON: Final = 0x0110  # a failure without a reason is a failure all the same

# What is kept, at the top and in an item; the longest value is a UID with its padding.
TOP: Final = frozenset({TRANSACTION_UID, REFERENCED_SOP_SEQUENCE, FAILED_SOP_SEQUENCE})
REFERENCE: Final = frozenset({REFERENCED_SOP_CLASS_UID, REFERENCED_SOP_INSTANCE_UID, FAILURE_REASON})
_NOTHING: Final[frozenset[int]] = frozenset()
_MAX_VALUE_BYTES: Final = 66

_Elements: TypeAlias = dict[int, "_Value"]
_Value: TypeAlias = bytes | list[_Elements]


class TooMany(MalformedDataSet):
    """A report beyond `MAX_REFERENCES`, `MAX_ELEMENTS` or `MAX_DEPTH`."""


@dataclass(frozen=True, slots=True)
class CommitmentReport:
    """What the peer says of a transaction.

    Attributes
    ----------
    committed : frozenset of str
        SOP Instance UIDs that it commits to. One that stands among the failed too is not here.
    failed : dict of str to int
        SOP Instance UID to Failure Reason, 0 to 0xFFFF.
    """

    transaction_uid: str
    committed: frozenset[str] = frozenset()
    failed: dict[str, int] = field(default_factory=dict)


def encode_request(
    transaction_uid: str, references: Sequence[tuple[str, str]], transfer_syntax_uid: str
) -> bytes:
    """The action information of a storage commitment request.

    Parameters
    ----------
    references : sequence of (str, str)
        SOP class and SOP instance UID of each instance.
    transfer_syntax_uid : str
        One of `COMMITMENT_TRANSFER_SYNTAXES`.
    """
    encode = element_encoder(transfer_syntax_uid)
    items = []
    for sop_class_uid, sop_instance_uid in references:
        item = encode(REFERENCED_SOP_CLASS_UID, b"UI", uid_bytes(sop_class_uid))
        item += encode(REFERENCED_SOP_INSTANCE_UID, b"UI", uid_bytes(sop_instance_uid))
        items.append(item_bytes(item))
    return encode(TRANSACTION_UID, b"UI", uid_bytes(transaction_uid)) + encode(
        REFERENCED_SOP_SEQUENCE, b"SQ", b"".join(items)
    )


def decode_report(raw: bytes, transfer_syntax_uid: str) -> CommitmentReport:
    """The event information of a report, or of a request, which is laid out the same way.

    Raises
    ------
    TooMany
        Before more than the bounds is kept.
    MalformedDataSet
        The bytes are no data set, not a whole one, or have no Transaction UID. Nothing of them is quoted.
    """
    reader = CommitmentReader(raw, implicit=transfer_syntax_uid == IMPLICIT_VR_LITTLE_ENDIAN)
    found, _ = reader.elements(0, len(raw), 0, TOP, is_bounded=True)
    transaction_uid = found.get(TRANSACTION_UID)
    uid = text(transaction_uid) if isinstance(transaction_uid, bytes) else ""
    if not is_tolerable_uid(uid):
        raise MalformedDataSet(f"Transaction UID {tag_name(TRANSACTION_UID)} is missing or is no UID")
    failed = {uid: _reason(item) for uid, item in _references(found.get(FAILED_SOP_SEQUENCE))}
    committed = {uid for uid, _ in _references(found.get(REFERENCED_SOP_SEQUENCE))}
    return CommitmentReport(uid, frozenset(committed.difference(failed)), failed)


class ReportRefused(MalformedDataSet):
    """A report that is not taken.

    Attributes
    ----------
    status : ReportStatus
        What it is answered.
    """

    def __init__(self, status: ReportStatus, why: str) -> None:
        super().__init__(why)
        self.status = status


def read_report(
    request: NEventReportRequest, event_information: bytes, transfer_syntax_uid: str
) -> CommitmentReport:
    """A report of storage commitment, from its request and its data set.

    Raises
    ------
    ReportRefused
        It is of another SOP class, SOP instance or event, beyond the bounds, or cannot be read.
    """
    if request.sop_class_uid != STORAGE_COMMITMENT_PUSH_MODEL:
        raise ReportRefused(ReportStatus.NO_SUCH_SOP_CLASS, "another SOP class than storage commitment")
    if request.sop_instance_uid != STORAGE_COMMITMENT_PUSH_MODEL_INSTANCE:
        raise ReportRefused(ReportStatus.NO_SUCH_SOP_INSTANCE, "another SOP instance than the well-known one")
    if request.event_type_id not in (EventType.SUCCESSFUL, EventType.FAILURES_EXIST):
        raise ReportRefused(ReportStatus.NO_SUCH_EVENT_TYPE, "neither event type 1 nor 2")
    try:
        return decode_report(event_information, transfer_syntax_uid)
    except TooMany as error:
        raise ReportRefused(ReportStatus.RESOURCE_LIMITATION, str(error)) from error
    except MalformedDataSet as error:
        raise ReportRefused(ReportStatus.PROCESSING_FAILURE, str(error)) from error


def _references(items: _Value | None) -> Iterator[tuple[str, _Elements]]:
    for item in items if isinstance(items, list) else ():
        raw = item.get(REFERENCED_SOP_INSTANCE_UID)
        uid = text(raw) if isinstance(raw, bytes) else ""
        if is_tolerable_uid(uid):
            yield uid, item


def _reason(item: _Elements) -> int:
    raw = item.get(FAILURE_REASON)
    return int.from_bytes(raw, "little") if isinstance(raw, bytes) and len(raw) == 2 else _UNKNOWN_REASON


def element_encoder(transfer_syntax_uid: str) -> Callable[[int, bytes, bytes], bytes]:
    """Encodes an element of tag, VR and value, whose length is even."""
    return _implicit if transfer_syntax_uid == IMPLICIT_VR_LITTLE_ENDIAN else _explicit


def item_bytes(elements: bytes) -> bytes:
    """An item of a sequence, its length told."""
    return struct.pack("<HHI", ITEM >> 16, ITEM & 0xFFFF, len(elements)) + elements


def uid_bytes(uid: str) -> bytes:
    """A UID as a value: ASCII, of an even length."""
    raw = uid.encode("ascii")
    return raw + b"\0" * (len(raw) & 1)


def _implicit(tag: int, _vr: bytes, value: bytes) -> bytes:
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value)) + value


def _explicit(tag: int, vr: bytes, value: bytes) -> bytes:
    if vr == b"SQ":
        return struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, vr, 0, len(value)) + value
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


class CommitmentReader:
    """One walk through the bytes; it goes down `MAX_DEPTH` sequences at most."""

    def __init__(self, raw: bytes, *, implicit: bool) -> None:
        self._data = memoryview(raw)
        syntax = ElementSyntax.of(implicit=implicit, little_endian=True)
        if len(raw) >= 8:  # the first element is believed more than the transfer syntax, as everywhere
            syntax = ElementSyntax.of(implicit=syntax.as_seen(raw[:8]).implicit, little_endian=True)
        self._syntax = syntax
        self._passed = 0
        self._references = 0

    def elements(
        self, at: int, stop: int, depth: int, wanted: frozenset[int], *, is_bounded: bool
    ) -> tuple[_Elements, int]:
        """The wanted ones up to `stop`, or to the end of the item; and where what follows begins."""
        found: _Elements = {}
        while at < stop:
            tag, value, length = self._head(at, stop)
            if tag == _ITEM_END and not is_bounded:
                return found, value
            if tag >> 16 == 0xFFFE:
                raise MalformedDataSet(f"byte {at}: {tag_name(tag)} stands where an element must", offset=at)
            at = value + length
            if tag in wanted and tag in TOP and tag != TRANSACTION_UID:
                found[tag], at = self._items(value, length, stop, depth + 1, REFERENCE)
            elif length == UNDEFINED_LENGTH:
                _, at = self._items(value, length, stop, depth + 1, _NOTHING)
            elif tag in wanted and length <= _MAX_VALUE_BYTES:
                found[tag] = bytes(self._data[value:at])
        if not is_bounded:
            raise MalformedDataSet("truncated inside an item", offset=stop)
        return found, stop

    def _items(
        self, at: int, length: int, stop: int, depth: int, wanted: frozenset[int]
    ) -> tuple[list[_Elements], int]:
        """The items of a sequence (PS3.5 Section 7.5), and where what follows begins."""
        if depth > MAX_DEPTH:
            raise TooMany(f"sequences nest more than {MAX_DEPTH} deep")
        is_bounded = length != UNDEFINED_LENGTH
        stop = at + length if is_bounded else stop
        items: list[_Elements] = []
        while at < stop:
            tag, value, size = self._head(at, stop)
            if tag == _SEQUENCE_END and not is_bounded:
                return items, value
            if tag != ITEM:
                raise MalformedDataSet(f"byte {at}: {tag_name(tag)} stands where an item must", offset=at)
            item_is_bounded = size != UNDEFINED_LENGTH
            end = value + size if item_is_bounded else stop
            item, at = self.elements(value, end, depth, wanted, is_bounded=item_is_bounded)
            if wanted:
                self._references += 1
                if self._references > MAX_REFERENCES:
                    raise TooMany(f"a report about more than {MAX_REFERENCES} instances")
                items.append(item)
        if not is_bounded:
            raise MalformedDataSet("truncated inside a sequence", offset=stop)
        return items, stop

    def _head(self, at: int, stop: int) -> tuple[int, int, int]:
        """Tag, where the value begins, and its length, which fits what is left."""
        self._passed += 1
        if self._passed > MAX_ELEMENTS:
            raise TooMany(f"a report of more than {MAX_ELEMENTS} elements")
        data, syntax = self._data, self._syntax
        if stop - at < 8:
            raise MalformedDataSet(f"truncated at byte {at}: inside an element", offset=at)
        if syntax.implicit:
            group, number, length = syntax.head.unpack_from(data, at)
            value = at + 8
        else:
            group, number, vr, length = syntax.head.unpack_from(data, at)
            _, value, length = syntax.long_head(data, at, group, vr)
        if value > stop or (length != UNDEFINED_LENGTH and value + length > stop):
            raise MalformedDataSet(f"byte {at}: a value goes beyond what holds it", offset=at)
        return group << 16 | number, value, length
