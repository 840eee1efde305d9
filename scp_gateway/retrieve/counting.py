"""The sub-operations of a retrieve: counters, statuses, and which instances failed (PS3.4 Sections C.4.2 and C.4.3). Pure."""

from __future__ import annotations

from typing import Final

from pydicom.dataset import Dataset

from dicomrelay.dicom.query_status import CANCELLED, PENDING, SUB_OPERATIONS_WITH_FAILURES
from dicomrelay.dicom.status import Outcome
from dicomrelay.dimse.identifier import encode_identifier
from dicomrelay.dimse.messages import CGetRequest, CGetResponse, CMoveRequest, CMoveResponse
from dicomrelay.net.service import Answer

RetrieveRequest = CMoveRequest | CGetRequest

CANNOT_SEND: Final = 0xA702
_SUCCESS: Final = 0
# A counter is US, and UI in explicit VR has a length of 16 bits (PS3.5 Section 7.1.2).
_LARGEST: Final = 0xFFFF
_MOST_FAILED_BYTES: Final = 0xFFFE
_COMMENT_CHARACTERS: Final = 64


class Counting:
    """What became of the sub-operations of one retrieve.

    Parameters
    ----------
    total : int
        How many there are.
    """

    def __init__(self, request: RetrieveRequest, total: int) -> None:
        self._request = request
        self._total = total
        self.completed = self.failed = self.warning = 0
        self.why = ""
        self._failed_uids: list[str] = []
        self._failed_bytes = 0
        self._known: set[str] = set()

    @property
    def remaining(self) -> int:
        """Of which it is not known yet what became of them."""
        return self._total - self.completed - self.failed - self.warning

    def add(self, sop_instance_uid: str, outcome: Outcome, words: str) -> None:
        """One is over; `words` say why it failed."""
        self._known.add(sop_instance_uid)
        if outcome is Outcome.DELIVERED:
            self.completed += 1
        elif outcome is Outcome.WARNING:
            self.warning += 1
        else:
            self.failed += 1
            self.why = words or self.why
            self._failed_bytes += len(sop_instance_uid) + 1
            if self._failed_bytes <= _MOST_FAILED_BYTES:
                self._failed_uids.append(sop_instance_uid)

    def is_known(self, sop_instance_uid: str) -> bool:
        """Whether that one is over."""
        return sop_instance_uid in self._known

    def pending(self) -> CMoveResponse | CGetResponse:
        """How far it is."""
        return self._response(PENDING, "", self.remaining)

    def last(self, transfer_syntax_uid: str, *, is_cancelled: bool = False) -> Answer:
        """The last response, with the list of failures when there are any.

        Parameters
        ----------
        transfer_syntax_uid : str
            Of the request.
        is_cancelled : bool
            It ends before its end, because the peer wanted so.
        """
        status = CANCELLED if is_cancelled and self.remaining else self._status()
        comment = self.why if status in (CANNOT_SEND, SUB_OPERATIONS_WITH_FAILURES) else ""
        response = self._response(status, comment, self.remaining if status == CANCELLED else None)
        if not self._failed_uids:
            return Answer(response)
        failed = Dataset()
        failed.FailedSOPInstanceUIDList = self._failed_uids
        return Answer(response, encode_identifier(failed, transfer_syntax_uid))

    def _status(self) -> int:
        """PS3.4 Section C.4.2.2.1: what each of them tells."""
        if self.failed and not self.completed and not self.warning:
            return CANNOT_SEND
        return SUB_OPERATIONS_WITH_FAILURES if self.failed or self.warning else _SUCCESS

    def _response(self, status: int, comment: str, remaining: int | None) -> CMoveResponse | CGetResponse:
        kind: type[CMoveResponse | CGetResponse] = (
            CMoveResponse if isinstance(self._request, CMoveRequest) else CGetResponse
        )
        return kind(
            self._request.message_id,
            status,
            self._request.sop_class_uid,
            remaining=None if remaining is None else min(remaining, _LARGEST),
            completed=min(self.completed, _LARGEST),
            failed=min(self.failed, _LARGEST),
            warning=min(self.warning, _LARGEST),
            error_comment=comment[:_COMMENT_CHARACTERS].encode("ascii", "replace").decode("ascii"),
        )
