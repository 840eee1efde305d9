"""One end of an association, without I/O: bytes in and events out, requests in and bytes out (PS3.8 Section 9.2).

The driver owns the socket and the clock. It receives into `receive_buffer()`, tells `received(count)`, asks
`next_event()` until that answers None, sends what `send()` and `take_output()` return, and closes when the state is Sta1.
`effects()` says what Tables 9-6 to 9-9 ask of it beside that, a few words in the whole life of an association: a driver
that has a deadline on every wait, as `net.transport` has, need not ask.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from dicomrelay.errors import LocalProtocolError, RemoteProtocolError
from dicomrelay.ul.pdu import (
    Abort,
    AbortReason,
    AbortSource,
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
    PDataTf,
    Pdu,
    PduType,
    ReleaseRequest,
    ReleaseResponse,
)
from dicomrelay.ul.reader import DECODERS
from dicomrelay.ul.receive_buffer import ReceiveBuffer
from dicomrelay.ul.state import STEPS, TRANSITIONS, Action, Event, State, Step
from dicomrelay.ul.writer import PDV_OVERHEAD_BYTES, encode, p_data_header

# 128 contexts with every transfer syntax known make some 400 KiB.
MAX_ASSOCIATE_BYTES: Final = 1 << 20
# What we put in one PDU for a peer that sets no limit (maximum length 0).
MAX_SENT_PDU_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class ConnectionClosed:
    """The transport connection is gone; after a release or our own abort that is the proper end."""


ConnectionEvent = Pdu | ConnectionClosed


class Effect(Enum):
    """What the driver is asked to do."""

    START_ARTIM = "start ARTIM, anew if it runs"
    STOP_ARTIM = "stop ARTIM"
    OPEN_TRANSPORT = "open the transport connection"
    CLOSE_TRANSPORT = "close the transport connection, when everything is sent"


_EVENT_OF_PDU: Final[dict[int, Event]] = {
    PduType.ASSOCIATE_RQ: Event.EVT6_ASSOCIATE_RQ_PDU,
    PduType.ASSOCIATE_AC: Event.EVT3_ASSOCIATE_AC_PDU,
    PduType.ASSOCIATE_RJ: Event.EVT4_ASSOCIATE_RJ_PDU,
    PduType.P_DATA_TF: Event.EVT10_P_DATA_TF_PDU,
    PduType.RELEASE_RQ: Event.EVT12_RELEASE_RQ_PDU,
    PduType.RELEASE_RP: Event.EVT13_RELEASE_RP_PDU,
    PduType.ABORT: Event.EVT16_ABORT_PDU,
}
_EVENT_OF_REQUEST: Final[dict[type, Event]] = {
    AssociateAccept: Event.EVT7_ASSOCIATE_ACCEPT,
    AssociateReject: Event.EVT8_ASSOCIATE_REJECT,
    PDataTf: Event.EVT9_P_DATA_REQUEST,
    ReleaseRequest: Event.EVT11_RELEASE_REQUEST,
    ReleaseResponse: Event.EVT14_RELEASE_RESPONSE,
    Abort: Event.EVT15_ABORT_REQUEST,
}
_EFFECT_OF_STEP: Final = {
    Step.START_ARTIM: Effect.START_ARTIM,
    Step.STOP_ARTIM: Effect.STOP_ARTIM,
    Step.OPEN: Effect.OPEN_TRANSPORT,
    Step.CLOSE: Effect.CLOSE_TRANSPORT,
}
_SURPRISES: Final = frozenset({Action.AA_1, Action.AA_8})


class Connection:
    """The protocol machine with its buffer.

    Parameters
    ----------
    max_pdu_bytes : int
        The maximum length we advertise: a longer P-DATA-TF PDU ends the association.
    receive_buffer_bytes : int
        How much one read may bring once the association is established and data flows; without, a peer costs 16 KiB.

    Attributes
    ----------
    state : State
    peer_max_pdu_bytes : int
        The longest variable field that we may send in a P-DATA-TF PDU; set when the association is negotiated.
    """

    def __init__(self, *, max_pdu_bytes: int, receive_buffer_bytes: int = 1 << 20) -> None:
        self.state = State.STA1_IDLE
        self.peer_max_pdu_bytes = MAX_SENT_PDU_BYTES
        self._receive_buffer_bytes = receive_buffer_bytes
        self._buffer = ReceiveBuffer(
            {
                PduType.ASSOCIATE_RQ: MAX_ASSOCIATE_BYTES,
                PduType.ASSOCIATE_AC: MAX_ASSOCIATE_BYTES,
                PduType.ASSOCIATE_RJ: 4,
                PduType.P_DATA_TF: max_pdu_bytes,
                PduType.RELEASE_RQ: 4,
                PduType.RELEASE_RP: 4,
                PduType.ABORT: 4,
            }
        )
        self._is_requestor = False
        self._request: AssociateRequest | None = None
        self._output = bytearray()
        self._effects: list[Effect] = []
        self._abort_reason: int = AbortReason.NOT_SPECIFIED
        self._at_end = False
        self._is_deaf = False

    # ---- the transport tells

    def transport_accepted(self) -> None:
        """A peer has connected to us: we are the acceptor (Evt5)."""
        self._step(Event.EVT5_TRANSPORT_INDICATION)

    def transport_connected(self) -> bytes:
        """The connection that `associate` asked for is open (Evt2): the request, to be sent."""
        self._step(Event.EVT2_TRANSPORT_CONFIRM, self._request)
        return self.take_output()

    def artim_expired(self) -> None:
        """ARTIM ran out (Evt18)."""
        self._step(Event.EVT18_ARTIM_EXPIRED)

    def receive_buffer(self) -> memoryview:
        """Where to receive into; from now on the views of earlier P-DATA events are void."""
        return self._buffer.space()

    def received(self, count: int) -> None:
        """`count` bytes stand at the start of the last `receive_buffer()`; 0 says that the peer has closed."""
        if count:
            self._buffer.received(count)
        else:
            self._at_end = True

    def rest(self) -> None:
        """Nothing comes for a while: give back memory that nothing stands in. Voids `receive_buffer()` and views."""
        self._buffer.shrink()

    def receive(self, data: bytes) -> None:
        """Take bytes that are already somewhere else: for tests and small peers, with a copy."""
        position = 0
        while position < len(data):
            space = self.receive_buffer()
            count = min(len(space), len(data) - position)
            space[:count] = data[position : position + count]
            self.received(count)
            position += count
        if not data:
            self.received(0)

    @property
    def has_partial_pdu(self) -> bool:
        """Whether a PDU has begun to arrive and is not whole."""
        return len(self._buffer) > 0

    @property
    def pdus_received(self) -> int:
        """How many whole PDUs have arrived: a driver sees by it whether the partial one is still the same."""
        return self._buffer.pdus_read

    # ---- the user asks

    def associate(self, request: AssociateRequest) -> None:
        """Ask for an association (Evt1): the driver is to open the transport and call `transport_connected`."""
        self._request = request
        self._is_requestor = True
        self._step(Event.EVT1_ASSOCIATE_REQUEST)

    def send(self, pdu: Pdu) -> bytes:
        """The bytes that carry a response or request of the user.

        Raises
        ------
        LocalProtocolError
            When PS3.8 Table 9-10 does not allow it in this state, or a P-DATA-TF is longer than the peer takes.
        """
        event = _EVENT_OF_REQUEST.get(type(pdu))
        if event is None:
            raise LocalProtocolError(
                "an association is requested with associate()", section="PS3.8 Section 9.2"
            )
        if isinstance(pdu, AssociateAccept):
            self._established()
        elif isinstance(pdu, PDataTf):
            self._check_length(sum(len(pdv.data) + PDV_OVERHEAD_BYTES for pdv in pdu.pdvs))
        self._step(event, pdu)
        return self.take_output()

    def request_abort(self, abort: Abort) -> None:
        """Put an A-ABORT into the output (Evt15), unless our last word is already said or nobody is there.

        In Sta2, where PS3.8 knows no user yet, a deadline or a full house ends the connection without a word.
        """
        if (self.state, Event.EVT15_ABORT_REQUEST) in TRANSITIONS:
            self._step(Event.EVT15_ABORT_REQUEST, abort)

    def send_p_data_header(
        self, context_id: int, data_bytes: int, *, is_command: bool, is_last: bool
    ) -> bytes:
        """The twelve bytes before `data_bytes` of data that the driver sends from where they lie."""
        self.check_p_data()
        self._check_length(data_bytes + PDV_OVERHEAD_BYTES)
        return p_data_header(context_id, data_bytes, is_command=is_command, is_last=is_last)

    def check_p_data(self) -> None:
        """Whether P-DATA-TF PDUs may be sent now, for a driver that has made them before.

        Raises
        ------
        LocalProtocolError
            PS3.8 Table 9-10 does not allow it in this state.
        """
        if (self.state, Event.EVT9_P_DATA_REQUEST) not in TRANSITIONS:
            raise self._not_allowed(Event.EVT9_P_DATA_REQUEST)

    # ---- what comes out

    def take_output(self) -> bytes:
        """Bytes to send that nobody asked for (an A-ABORT), once."""
        output = bytes(self._output)
        self._output.clear()
        return output

    def effects(self) -> list[Effect]:
        """What the driver has to do, in order, once."""
        effects, self._effects = self._effects, []
        return effects

    def next_event(self) -> ConnectionEvent | None:
        """The next thing that the peer did; None when more bytes are needed, or nothing more will come.

        Raises
        ------
        RemoteProtocolError
            The peer broke the protocol. The A-ABORT that answers is in `take_output()`, ARTIM is to run, and
            whatever else arrives is ignored.
        """
        if self.state is State.STA4_AWAITING_TRANSPORT:  # no peer yet: only the loss of the attempt can come
            return self._closed() if self._at_end else None
        while self.state is not State.STA1_IDLE:
            if self._is_deaf:
                self._buffer.clear()
            try:
                found = self._buffer.next_pdu()
                if found is None:
                    return self._closed() if self._at_end else None
                pdu_type, body = found
                pdu = DECODERS[pdu_type](body)
            except RemoteProtocolError as error:
                self._invalid(error)
                continue
            event = self._step_remote(_EVENT_OF_PDU[pdu_type], pdu)
            if event is not None:
                return event
        return None

    def take_exactly(self, pdu: bytes) -> bool:
        """Take the next PDU when it is this very P-DATA-TF, byte for byte; False, and nothing happens, when it is not.

        For a response that is known in advance: it saves decoding it. Only in Sta6, where a P-DATA-TF changes nothing (DT-2).
        """
        return self.state is State.STA6_ESTABLISHED and not self._is_deaf and self._buffer.take_exactly(pdu)

    # ---- inside

    def _step_remote(self, event: Event, pdu: Pdu) -> Pdu | None:
        """A PDU came; answer with it when the user is to see it."""
        action, following = TRANSITIONS[self.state, event]
        if action is Action.DT_2:  # the hot path: nothing changes
            return pdu
        self._abort_reason = AbortReason.UNEXPECTED_PDU
        before = self.state
        indicated = self._act(action, following, pdu)
        if action in _SURPRISES:
            raise RemoteProtocolError(
                f"{type(pdu).__name__} is not expected in {_name(before)}",
                section="PS3.8 Table 9-10",
                abort_reason=AbortReason.UNEXPECTED_PDU,
            )
        return pdu if indicated else None

    def _invalid(self, error: RemoteProtocolError) -> None:
        """A PDU that cannot be read (Evt19): where the next one begins is not known, so nothing is read any more."""
        self._is_deaf = True
        self._abort_reason = error.abort_reason
        action, following = TRANSITIONS[self.state, Event.EVT19_INVALID_PDU]
        self._act(action, following, None)
        if action in _SURPRISES:
            raise error

    def _closed(self) -> ConnectionClosed:
        """Evt17. The driver hears of it in any state; the user is told by AA-4 only, not by AR-5 and AA-5."""
        self._buffer.clear()
        self._step(Event.EVT17_TRANSPORT_CLOSED)
        return ConnectionClosed()

    def _step(self, event: Event, pdu: Pdu | None = None) -> None:
        transition = TRANSITIONS.get((self.state, event))
        if transition is None:
            raise self._not_allowed(event)
        self._act(*transition, pdu)

    def _act(self, action: Action, following: tuple[State, ...], pdu: Pdu | None) -> bool:
        """Carry out an action; whether the user is to be told."""
        indicated = False
        after = following[0]
        for step in STEPS[action]:
            if step is Step.SEND and pdu is not None:
                self._output += encode(pdu)
            elif step is Step.SEND_ABORT_USER:
                self._output += encode(pdu if isinstance(pdu, Abort) else Abort(AbortSource.SERVICE_USER))
            elif step is Step.SEND_ABORT_PROVIDER:
                self._output += encode(Abort(AbortSource.SERVICE_PROVIDER, self._abort_reason))
            elif step is Step.INDICATE:
                indicated = True
            elif step is Step.CHECK and isinstance(pdu, AssociateRequest):
                indicated = self._is_acceptable(pdu)
                after = following[0 if indicated else 1]
            elif step in _EFFECT_OF_STEP:
                self._effects.append(_EFFECT_OF_STEP[step])
        if action is Action.AR_8 and not self._is_requestor:
            after = following[1]
        if action is Action.AE_3 and isinstance(pdu, AssociateAccept):
            self._set_peer_maximum(pdu.user_information.maximum_length)
            self._established()
        self.state = after
        return indicated

    def _is_acceptable(self, request: AssociateRequest) -> bool:
        """AE-6: the provider itself refuses only a protocol version that it does not speak (PS3.8 Section 9.3.2)."""
        self._set_peer_maximum(request.user_information.maximum_length)
        if request.protocol_version & 1:
            return True
        self._output += encode(AssociateReject(result=1, source=2, reason=2))
        self._effects.append(Effect.START_ARTIM)
        return False

    def _set_peer_maximum(self, maximum_length: int) -> None:
        self.peer_max_pdu_bytes = min(maximum_length or MAX_SENT_PDU_BYTES, MAX_SENT_PDU_BYTES)

    def _established(self) -> None:
        self._buffer.enlarge(self._receive_buffer_bytes)

    def _check_length(self, variable_field_bytes: int) -> None:
        if variable_field_bytes > self.peer_max_pdu_bytes:
            raise LocalProtocolError(
                f"a P-DATA-TF of {variable_field_bytes} bytes is longer than the peer's {self.peer_max_pdu_bytes}",
                section="PS3.8 Annex D.1",
            )

    def _not_allowed(self, event: Event) -> LocalProtocolError:
        return LocalProtocolError(
            f"{_name(event)} is not allowed in {_name(self.state)}", section="PS3.8 Table 9-10"
        )


def _name(member: State | Event) -> str:
    label, _, words = member.name.partition("_")
    return f"{label.capitalize()} ({words.replace('_', ' ').lower()})"
