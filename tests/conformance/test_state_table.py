"""The protocol machine against PS3.8 Table 9-10, every state with every event.

The table stands here as the standard prints it, one row an event, written apart from the code. Each cell is the action
and the next state; a dash is a cell that the standard leaves blank.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from pynetdicom.fsm import TRANSITION_TABLE

from dicomrelay.errors import LocalProtocolError, RemoteProtocolError
from dicomrelay.ul.connection import Connection, ConnectionClosed, Effect
from dicomrelay.ul.pdu import (
    Abort,
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
    ContextDecision,
    PDataTf,
    Pdv,
    ProposedContext,
    ReleaseRequest,
    ReleaseResponse,
    UserInformation,
)
from dicomrelay.ul.state import STEPS, TRANSITIONS, Event, State, Step
from dicomrelay.ul.writer import encode

TABLE_9_10 = """
      Sta1   Sta2      Sta3    Sta4   Sta5    Sta6    Sta7       Sta8    Sta9    Sta10    Sta11   Sta12   Sta13
Evt1  AE-1:4 -         -       -      -       -       -          -       -       -        -       -       -
Evt2  -      -         -       AE-2:5 -       -       -          -       -       -        -       -       -
Evt3  -      AA-1:13   AA-8:13 -      AE-3:6  AA-8:13 AA-8:13    AA-8:13 AA-8:13 AA-8:13  AA-8:13 AA-8:13 AA-6:13
Evt4  -      AA-1:13   AA-8:13 -      AE-4:1  AA-8:13 AA-8:13    AA-8:13 AA-8:13 AA-8:13  AA-8:13 AA-8:13 AA-6:13
Evt5  AE-5:2 -         -       -      -       -       -          -       -       -        -       -       -
Evt6  -      AE-6:3/13 AA-8:13 -      AA-8:13 AA-8:13 AA-8:13    AA-8:13 AA-8:13 AA-8:13  AA-8:13 AA-8:13 AA-7:13
Evt7  -      -         AE-7:6  -      -       -       -          -       -       -        -       -       -
Evt8  -      -         AE-8:13 -      -       -       -          -       -       -        -       -       -
Evt9  -      -         -       -      -       DT-1:6  -          AR-7:8  -       -        -       -       -
Evt10 -      AA-1:13   AA-8:13 -      AA-8:13 DT-2:6  AR-6:7     AA-8:13 AA-8:13 AA-8:13  AA-8:13 AA-8:13 AA-6:13
Evt11 -      -         -       -      -       AR-1:7  -          -       -       -        -       -       -
Evt12 -      AA-1:13   AA-8:13 -      AA-8:13 AR-2:8  AR-8:9/10  AA-8:13 AA-8:13 AA-8:13  AA-8:13 AA-8:13 AA-6:13
Evt13 -      AA-1:13   AA-8:13 -      AA-8:13 AA-8:13 AR-3:1     AA-8:13 AA-8:13 AR-10:12 AR-3:1  AA-8:13 AA-6:13
Evt14 -      -         -       -      -       -       -          AR-4:13 AR-9:11 -        -       AR-4:13 -
Evt15 -      -         AA-1:13 AA-2:1 AA-1:13 AA-1:13 AA-1:13    AA-1:13 AA-1:13 AA-1:13  AA-1:13 AA-1:13 -
Evt16 -      AA-2:1    AA-3:1  -      AA-3:1  AA-3:1  AA-3:1     AA-3:1  AA-3:1  AA-3:1   AA-3:1  AA-3:1  AA-2:1
Evt17 -      AA-5:1    AA-4:1  AA-4:1 AA-4:1  AA-4:1  AA-4:1     AA-4:1  AA-4:1  AA-4:1   AA-4:1  AA-4:1  AR-5:1
Evt18 -      AA-2:1    -       -      -       -       -          -       -       -        -       -       AA-2:1
Evt19 -      AA-1:13   AA-8:13 -      AA-8:13 AA-8:13 AA-8:13    AA-8:13 AA-8:13 AA-8:13  AA-8:13 AA-8:13 AA-7:13
"""

REQUEST = AssociateRequest(
    "CALLED",
    "CALLING",
    "1.2.840.10008.3.1.1.1",
    (ProposedContext(1, "1.2", ("1.3",)),),
    UserInformation(16_384),
)
ACCEPT = AssociateAccept(
    "CALLED", "CALLING", "1.2.840.10008.3.1.1.1", (ContextDecision(1, 0, "1.3"),), UserInformation(16_384)
)
REJECT = AssociateReject(1, 1, 1)
DATA = PDataTf((Pdv(1, True, True, b"ab"),))

# What each action sends and asks of the driver, from PS3.8 Tables 9-6 to 9-9; the indications are tested below.
SENDS = {
    "AE-2": 1, "AE-7": 2, "AE-8": 3, "DT-1": 4, "AR-7": 4, "AR-1": 5, "AR-4": 6, "AR-9": 6,
    "AA-1": 7, "AA-7": 7, "AA-8": 7,
}  # fmt: skip
ASKS = {
    "AE-1": [Effect.OPEN_TRANSPORT],
    "AE-4": [Effect.CLOSE_TRANSPORT],
    "AE-5": [Effect.START_ARTIM],
    "AE-6": [Effect.STOP_ARTIM],
    "AE-8": [Effect.START_ARTIM],
    "AR-3": [Effect.CLOSE_TRANSPORT],
    "AR-4": [Effect.START_ARTIM],
    "AR-5": [Effect.STOP_ARTIM],
    "AA-1": [Effect.START_ARTIM],
    "AA-2": [Effect.STOP_ARTIM, Effect.CLOSE_TRANSPORT],
    "AA-3": [Effect.CLOSE_TRANSPORT],
    "AA-5": [Effect.STOP_ARTIM],
    "AA-8": [Effect.START_ARTIM],
}
INDICATES = {
    "AE-3",
    "AE-4",
    "AE-6",
    "DT-2",
    "AR-2",
    "AR-3",
    "AR-6",
    "AR-8",
    "AR-10",
    "AA-3",
    "AA-4",
    "AA-8",
}


def _cells() -> list[tuple[int, int, str]]:
    rows = [line.split() for line in TABLE_9_10.strip().splitlines()[1:]]
    return [
        (event, state, cell) for event, row in enumerate(rows, 1) for state, cell in enumerate(row[1:], 1)
    ]


def _received(pdu: object) -> Callable[[Connection], object]:
    def apply(connection: Connection) -> object:
        connection.receive(pdu if isinstance(pdu, bytes) else encode(pdu))  # type: ignore[arg-type]
        return connection.next_event()

    return apply


def _closed(connection: Connection) -> object:
    connection.receive(b"")
    return connection.next_event()


APPLY: dict[int, Callable[[Connection], object]] = {
    1: lambda c: c.associate(REQUEST),
    2: lambda c: c.transport_connected(),
    3: _received(ACCEPT),
    4: _received(REJECT),
    5: lambda c: c.transport_accepted(),
    6: _received(REQUEST),
    7: lambda c: c.send(ACCEPT),
    8: lambda c: c.send(REJECT),
    9: lambda c: c.send(DATA),
    10: _received(DATA),
    11: lambda c: c.send(ReleaseRequest()),
    12: _received(ReleaseRequest()),
    13: _received(ReleaseResponse()),
    14: lambda c: c.send(ReleaseResponse()),
    15: lambda c: c.send(Abort()),
    16: _received(Abort()),
    17: _closed,
    18: lambda c: c.artim_expired(),
    19: _received(b"\x99\x00\x00\x00\x00\x00"),
}
REMOTE = {3, 4, 6, 10, 12, 13, 16, 17, 19}


def _in_state(state: int, *, is_requestor: bool = False) -> Connection:
    connection = Connection(max_pdu_bytes=16_384)
    connection.state = State(state)
    connection._is_requestor = is_requestor
    connection._request = REQUEST
    return connection


@pytest.mark.parametrize(("event", "state", "cell"), _cells(), ids=str)
def test_every_cell_does_what_table_9_10_says(event: int, state: int, cell: str) -> None:
    """The next state, the PDU that goes out, what is asked of the driver, and what the user gets to see."""
    connection = _in_state(state)
    if cell == "-":
        _assert_impossible(connection, event, state)
        return
    action, _, following = cell.partition(":")
    seen: object = None
    sent: object = b""
    if action in {"AA-1", "AA-8"} and event in REMOTE:
        with pytest.raises(RemoteProtocolError):
            APPLY[event](connection)
    elif event in REMOTE:
        seen = APPLY[event](connection)
    else:
        sent = APPLY[event](connection)
    output = sent if isinstance(sent, bytes) and sent else connection.take_output()
    expected = following.split("/")
    assert connection.state == int(expected[1] if action == "AR-8" else expected[0])
    assert SENDS.get(action) == (output[0] if output else None)
    assert ASKS.get(action, []) == connection.effects()
    if event == 17:  # the driver always hears that its socket is closed; AR-5 and AA-5 tell the user nothing
        assert isinstance(seen, ConnectionClosed)
    elif action != "AA-8":  # whose indication is the exception
        assert (action in INDICATES) == (seen is not None)


def test_the_actions_indicate_what_tables_9_6_to_9_9_say() -> None:
    """AE-6 does it by its check; AR-5 and AA-5 only stop ARTIM."""
    ours = {action.value for action, steps in STEPS.items() if {Step.INDICATE, Step.CHECK} & set(steps)}
    assert ours == INDICATES


def _assert_impossible(connection: Connection, event: int, state: int) -> None:
    """A blank cell changes nothing: the local user is told so, and a PDU without a connection is not looked at."""
    if event in REMOTE:
        assert APPLY[event](connection) is None
    else:
        with pytest.raises(LocalProtocolError):
            APPLY[event](connection)
    assert connection.state == state
    assert connection.take_output() == b""
    assert connection.effects() == []


def test_a_release_collision_sends_the_requestor_to_sta9() -> None:
    """AR-8 has two next states: Sta9 for the requestor of the association, Sta10 for its acceptor."""
    connection = _in_state(7, is_requestor=True)
    assert APPLY[12](connection) == ReleaseRequest()
    assert connection.state is State.STA9_COLLISION_REQUESTOR_AWAITING_LOCAL


def test_an_unknown_protocol_version_is_rejected_by_the_provider() -> None:
    """AE-6: bit 0 of the protocol version must be set, else A-ASSOCIATE-RJ (1, 2, 2), ARTIM and Sta13."""
    connection = _in_state(2)
    connection.receive(encode(AssociateRequest("A", "B", "1.2", REQUEST.contexts, UserInformation(), 2)))
    assert connection.next_event() is None
    assert connection.state is State.STA13_AWAITING_CLOSE
    assert encode(AssociateReject(1, 2, 2)) == connection.take_output()
    assert connection.effects() == [Effect.STOP_ARTIM, Effect.START_ARTIM]


def test_abort_source_is_the_user_for_aa1_and_the_provider_for_aa8() -> None:
    """Table 9-9: AA-1 sends source 0, AA-8 source 2, with the reason that fits."""
    for state, expected in ((2, b"\x00\x00\x00\x00"), (6, b"\x00\x00\x02\x01")):
        connection = _in_state(state)
        with contextlib.suppress(RemoteProtocolError):
            APPLY[19](connection)
        assert connection.take_output() == b"\x07\x00\x00\x00\x00\x04" + expected
    connection = _in_state(6)
    with pytest.raises(RemoteProtocolError, match="AssociateAccept is not expected in Sta6"):
        APPLY[3](connection)
    assert connection.take_output()[-2:] == b"\x02\x02"


def test_the_table_agrees_with_an_independent_implementation() -> None:
    """pynetdicom transcribed the same table; both name the same action for the same cells."""
    ours = {
        (f"Evt{int(event)}", f"Sta{int(state)}"): action.value
        for (state, event), (action, _) in TRANSITIONS.items()
    }
    assert ours == TRANSITION_TABLE


def test_every_state_and_event_has_a_number_of_the_standard() -> None:
    """Thirteen states, nineteen events."""
    assert [int(state) for state in State] == list(range(1, 14))
    assert [int(event) for event in Event] == list(range(1, 20))
