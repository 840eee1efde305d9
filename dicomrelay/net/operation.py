"""What C-FIND, C-MOVE and C-GET have in common: one request, many responses, deadlines, C-CANCEL, one end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from time import monotonic
from typing import Final

from pydicom.dataset import Dataset

from dicomrelay.dicom.query_status import CANCELLED, Finality, finality
from dicomrelay.dimse.exchange import Exchange, ExchangeEvent, Finished
from dicomrelay.dimse.fragments import CommandReceived, DataSetReceived
from dicomrelay.dimse.identifier import decode_identifier, encode_identifier, failed_instances
from dicomrelay.dimse.identifier_buffer import IDENTIFIER_TRANSFER_SYNTAXES
from dicomrelay.dimse.messages import CCancelRequest, QueryRetrieveRequest, RetrieveResponse
from dicomrelay.errors import AssociationTimeout, MalformedDataSet, NoAcceptedContext
from dicomrelay.net.requestor import Association
from dicomrelay.net.sub_operation import SubOperation

# How often `stop` is asked while nothing comes; a tick of the transport may make it a second.
_WAKE_S: Final = 0.25
# From C-CANCEL to the last response; who takes longer is aborted.
_CANCEL_S: Final = 15.0


class Stop(Enum):
    """Why we ended an operation before its end."""

    LIMIT = "limit"  # as many answers or instances as were asked for
    ASKED = "asked"  # `stop` said so


@dataclass(frozen=True, slots=True)
class Counts:
    """C-STORE sub-operations as the peer counts them; None for what it never said."""

    remaining: int | None = None
    completed: int | None = None
    failed: int | None = None
    warning: int | None = None


@dataclass(frozen=True, slots=True)
class Conclusion:
    """How an operation ended.

    Attributes
    ----------
    status : int
        Of the last response; FE00 too when it never came after our C-CANCEL and the association was aborted.
    comment : str
        Error Comment of the peer. It may name a patient: for the terminal, not for a log.
    offending : tuple of int
        Tags of Offending Element.
    stopped : Stop or None
        Why, if it was us.
    counts : Counts
        The last that were told.
    failed_uids : tuple of str
        Failed SOP Instance UID List; may be empty although some failed.
    """

    status: int
    comment: str = ""
    offending: tuple[int, ...] = ()
    stopped: Stop | None = None
    counts: Counts = Counts()
    failed_uids: tuple[str, ...] = ()


def never() -> bool:
    """Nobody wants to stop."""
    return False


class Operation:
    """What the three have in common: one request, many responses, one end."""

    def __init__(
        self,
        association: Association,
        request: QueryRetrieveRequest,
        identifier: Dataset,
        limit: int | None,
        stop: Callable[[], bool],
    ) -> None:
        self.conclusion: Conclusion | None = None
        self._association = association
        self._limit = limit
        self._stop = stop
        self._stopped: Stop | None = None
        self._cancel_deadline = float("inf")
        context_id, self._syntax = _context(association, request.sop_class_uid)
        self._contexts = {
            number: each for each, number in association.accepted.items() if number != context_id
        }
        self._exchange = Exchange(request, context_id, self._contexts)
        self._identifier = encode_identifier(identifier, self._syntax)
        self._store: SubOperation | None = None

    def events(self) -> Iterator[ExchangeEvent]:
        """Ask, and yield what comes until the last response; a timeout after our C-CANCEL is an end as well."""
        association, exchange = self._association, self._exchange
        association.send_message(exchange.request, exchange.context_id, self._identifier)
        quiet_since = monotonic()
        try:
            while not exchange.is_over:
                if (
                    monotonic() > self._cancel_deadline
                ):  # the transport looks at deadlines only while nothing comes
                    raise AssociationTimeout("the peer goes on after our C-CANCEL", timer="cancel")
                if self._stopped is None and self._stop():
                    self.cancel(Stop.ASKED)
                patience_s = (
                    association.timeouts.response_s if self._store is None else association.timeouts.pdu_s
                )
                events = association.receive(
                    self._take,
                    deadline=min(quiet_since + patience_s, self._cancel_deadline),
                    wake_at=monotonic() + _WAKE_S,
                )
                if events is not None:
                    yield from events
                    quiet_since = monotonic()  # whoever takes the answers may take time
        except AssociationTimeout:
            if self._stopped is None:
                raise
            self.conclusion = Conclusion(CANCELLED, stopped=self._stopped)
        finally:
            if self._store is not None:
                self._store.abandon()
            if not exchange.is_over:
                association.abort()

    def _take(self, parts: Sequence[CommandReceived | DataSetReceived]) -> list[ExchangeEvent]:
        return self._exchange.feed(parts)

    def cancel(self, why: Stop) -> None:
        """C-CANCEL, once (PS3.7 Section 9.3.2.3); the last response is waited for, not for long."""
        if self._stopped is None and not self._exchange.is_over:
            self._stopped = why
            self._cancel_deadline = monotonic() + _CANCEL_S
            message = CCancelRequest(self._exchange.request.message_id)
            self._association.send_message(message, self._exchange.context_id)

    def conclude(self, last: Finished) -> None:
        response = last.response
        # The peer may have been done before our C-CANCEL reached it.
        stopped = self._stopped if finality(response.status) is not Finality.SUCCESS else None
        failed: tuple[str, ...] = ()
        if last.identifier:
            try:
                failed = tuple(failed_instances(decode_identifier(last.identifier, self._syntax)))
            except MalformedDataSet:
                failed = ()  # the counters say how many
        self.conclusion = Conclusion(
            response.status,
            response.error_comment,
            response.offending_element,
            stopped,
            counts_of(response) if isinstance(response, RetrieveResponse) else Counts(),
            failed,
        )


def _context(association: Association, sop_class_uid: str) -> tuple[int, str]:
    for syntax in IDENTIFIER_TRANSFER_SYNTAXES:
        context_id = association.accepted.get((sop_class_uid, syntax))
        if context_id is not None:
            return context_id, syntax
    raise NoAcceptedContext(
        f"{association.remote} does not serve this model ({sop_class_uid}): try another one"
    )


def counts_of(response: RetrieveResponse) -> Counts:
    """The counters of a response."""
    return Counts(response.remaining, response.completed, response.failed, response.warning)
