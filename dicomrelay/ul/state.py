"""The upper layer protocol machine of PS3.8 Section 9.2, as data.

Rule: whatever decides a transition stands in this file. `TRANSITIONS` is Table 9-10, `STEPS` says what each action of
Tables 9-6 to 9-9 does, and `connection` only carries the steps out. Nothing here acts, waits or counts time: ARTIM is
a request to whoever drives the connection.

Thirteen states and nineteen events hide four small machines. A requestor goes 1, 4, 5, 6; an acceptor 1, 2, 3, 6;
both leave by release (7 and 8, with 9 to 12 for two requests that cross) or by abort; and Sta13 is the antechamber of
Sta1, where we have said our last word and wait for the peer, or for ARTIM, to close the connection.

An empty cell is something that cannot happen (a PDU without a connection) or that the local user must not ask for.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Final


class State(IntEnum):
    """States of the protocol machine (PS3.8 Tables 9-1 to 9-5)."""

    STA1_IDLE = 1
    STA2_AWAITING_REQUEST = 2
    STA3_AWAITING_LOCAL_RESPONSE = 3
    STA4_AWAITING_TRANSPORT = 4
    STA5_AWAITING_ACCEPT_OR_REJECT = 5
    STA6_ESTABLISHED = 6
    STA7_AWAITING_RELEASE_RESPONSE = 7
    STA8_AWAITING_LOCAL_RELEASE_RESPONSE = 8
    STA9_COLLISION_REQUESTOR_AWAITING_LOCAL = 9
    STA10_COLLISION_ACCEPTOR_AWAITING_RESPONSE = 10
    STA11_COLLISION_REQUESTOR_AWAITING_RESPONSE = 11
    STA12_COLLISION_ACCEPTOR_AWAITING_LOCAL = 12
    STA13_AWAITING_CLOSE = 13


class Event(IntEnum):
    """Events of the protocol machine (PS3.8 Table 9-10, first column)."""

    EVT1_ASSOCIATE_REQUEST = 1
    EVT2_TRANSPORT_CONFIRM = 2
    EVT3_ASSOCIATE_AC_PDU = 3
    EVT4_ASSOCIATE_RJ_PDU = 4
    EVT5_TRANSPORT_INDICATION = 5
    EVT6_ASSOCIATE_RQ_PDU = 6
    EVT7_ASSOCIATE_ACCEPT = 7
    EVT8_ASSOCIATE_REJECT = 8
    EVT9_P_DATA_REQUEST = 9
    EVT10_P_DATA_TF_PDU = 10
    EVT11_RELEASE_REQUEST = 11
    EVT12_RELEASE_RQ_PDU = 12
    EVT13_RELEASE_RP_PDU = 13
    EVT14_RELEASE_RESPONSE = 14
    EVT15_ABORT_REQUEST = 15
    EVT16_ABORT_PDU = 16
    EVT17_TRANSPORT_CLOSED = 17
    EVT18_ARTIM_EXPIRED = 18
    EVT19_INVALID_PDU = 19


class Step(Enum):
    """What an action is made of."""

    OPEN = "open the transport connection"
    CLOSE = "close the transport connection"
    START_ARTIM = "start ARTIM, anew if it runs"
    STOP_ARTIM = "stop ARTIM"
    SEND = "send the PDU of the primitive"
    SEND_ABORT_USER = "send A-ABORT, source service user"
    SEND_ABORT_PROVIDER = "send A-ABORT, source service provider"
    INDICATE = "hand the PDU, or the loss of the connection, to the user"
    CHECK = "decide whether the request is acceptable to the provider"
    IGNORE = "ignore the PDU"


class Action(Enum):
    """Actions of PS3.8 Tables 9-6 to 9-9, by their names there."""

    AE_1 = "AE-1"
    AE_2 = "AE-2"
    AE_3 = "AE-3"
    AE_4 = "AE-4"
    AE_5 = "AE-5"
    AE_6 = "AE-6"
    AE_7 = "AE-7"
    AE_8 = "AE-8"
    DT_1 = "DT-1"
    DT_2 = "DT-2"
    AR_1 = "AR-1"
    AR_2 = "AR-2"
    AR_3 = "AR-3"
    AR_4 = "AR-4"
    AR_5 = "AR-5"
    AR_6 = "AR-6"
    AR_7 = "AR-7"
    AR_8 = "AR-8"
    AR_9 = "AR-9"
    AR_10 = "AR-10"
    AA_1 = "AA-1"
    AA_2 = "AA-2"
    AA_3 = "AA-3"
    AA_4 = "AA-4"
    AA_5 = "AA-5"
    AA_6 = "AA-6"
    AA_7 = "AA-7"
    AA_8 = "AA-8"


STEPS: Final[dict[Action, tuple[Step, ...]]] = {
    Action.AE_1: (Step.OPEN,),
    Action.AE_2: (Step.SEND,),
    Action.AE_3: (Step.INDICATE,),
    Action.AE_4: (Step.INDICATE, Step.CLOSE),
    Action.AE_5: (Step.START_ARTIM,),
    Action.AE_6: (Step.STOP_ARTIM, Step.CHECK),
    Action.AE_7: (Step.SEND,),
    Action.AE_8: (Step.SEND, Step.START_ARTIM),
    Action.DT_1: (Step.SEND,),
    Action.DT_2: (Step.INDICATE,),
    Action.AR_1: (Step.SEND,),
    Action.AR_2: (Step.INDICATE,),
    Action.AR_3: (Step.INDICATE, Step.CLOSE),
    Action.AR_4: (Step.SEND, Step.START_ARTIM),
    Action.AR_5: (Step.STOP_ARTIM,),
    Action.AR_6: (Step.INDICATE,),
    Action.AR_7: (Step.SEND,),
    Action.AR_8: (Step.INDICATE,),
    Action.AR_9: (Step.SEND,),
    Action.AR_10: (Step.INDICATE,),
    Action.AA_1: (Step.SEND_ABORT_USER, Step.START_ARTIM),
    Action.AA_2: (Step.STOP_ARTIM, Step.CLOSE),
    Action.AA_3: (Step.INDICATE, Step.CLOSE),
    Action.AA_4: (Step.INDICATE,),
    Action.AA_5: (Step.STOP_ARTIM,),
    Action.AA_6: (Step.IGNORE,),
    Action.AA_7: (Step.SEND_ABORT_PROVIDER,),
    Action.AA_8: (Step.SEND_ABORT_PROVIDER, Step.INDICATE, Step.START_ARTIM),
}

# Cells with two next states: AE-6 by the check, AR-8 by who asked for the association (requestor first).
Transition = tuple[Action, tuple[State, ...]]

_A = Action
_S = {int(state): state for state in State}


def _cells(
    event: Event, *cells: tuple[tuple[int, ...], Action, tuple[int, ...]]
) -> dict[tuple[State, Event], Transition]:
    return {
        (_S[state], event): (action, tuple(_S[after] for after in following))
        for states, action, following in cells
        for state in states
    }


_OPEN = (
    3,
    5,
    6,
    7,
    8,
    9,
    10,
    11,
    12,
)  # the states in which a surprise ends by AA-8 and the loss of the peer by AA-4


def _without(*states: int) -> tuple[int, ...]:
    return tuple(state for state in _OPEN if state not in states)


# PS3.8 Table 9-10.
TRANSITIONS: Final[dict[tuple[State, Event], Transition]] = {
    **_cells(Event.EVT1_ASSOCIATE_REQUEST, ((1,), _A.AE_1, (4,))),
    **_cells(Event.EVT2_TRANSPORT_CONFIRM, ((4,), _A.AE_2, (5,))),
    **_cells(
        Event.EVT3_ASSOCIATE_AC_PDU,
        ((2,), _A.AA_1, (13,)),
        (_without(5), _A.AA_8, (13,)),
        ((5,), _A.AE_3, (6,)),
        ((13,), _A.AA_6, (13,)),
    ),
    **_cells(
        Event.EVT4_ASSOCIATE_RJ_PDU,
        ((2,), _A.AA_1, (13,)),
        (_without(5), _A.AA_8, (13,)),
        ((5,), _A.AE_4, (1,)),
        ((13,), _A.AA_6, (13,)),
    ),
    **_cells(Event.EVT5_TRANSPORT_INDICATION, ((1,), _A.AE_5, (2,))),
    **_cells(
        Event.EVT6_ASSOCIATE_RQ_PDU,
        ((2,), _A.AE_6, (3, 13)),
        (_OPEN, _A.AA_8, (13,)),
        ((13,), _A.AA_7, (13,)),
    ),
    **_cells(Event.EVT7_ASSOCIATE_ACCEPT, ((3,), _A.AE_7, (6,))),
    **_cells(Event.EVT8_ASSOCIATE_REJECT, ((3,), _A.AE_8, (13,))),
    **_cells(Event.EVT9_P_DATA_REQUEST, ((6,), _A.DT_1, (6,)), ((8,), _A.AR_7, (8,))),
    **_cells(
        Event.EVT10_P_DATA_TF_PDU,
        ((2,), _A.AA_1, (13,)),
        (_without(6, 7), _A.AA_8, (13,)),
        ((6,), _A.DT_2, (6,)),
        ((7,), _A.AR_6, (7,)),
        ((13,), _A.AA_6, (13,)),
    ),
    **_cells(Event.EVT11_RELEASE_REQUEST, ((6,), _A.AR_1, (7,))),
    **_cells(
        Event.EVT12_RELEASE_RQ_PDU,
        ((2,), _A.AA_1, (13,)),
        (_without(6, 7), _A.AA_8, (13,)),
        ((6,), _A.AR_2, (8,)),
        ((7,), _A.AR_8, (9, 10)),
        ((13,), _A.AA_6, (13,)),
    ),
    **_cells(
        Event.EVT13_RELEASE_RP_PDU,
        ((2,), _A.AA_1, (13,)),
        (_without(7, 10, 11), _A.AA_8, (13,)),
        ((7, 11), _A.AR_3, (1,)),
        ((10,), _A.AR_10, (12,)),
        ((13,), _A.AA_6, (13,)),
    ),
    **_cells(
        Event.EVT14_RELEASE_RESPONSE,
        ((8, 12), _A.AR_4, (13,)),
        ((9,), _A.AR_9, (11,)),
    ),
    **_cells(Event.EVT15_ABORT_REQUEST, (_OPEN, _A.AA_1, (13,)), ((4,), _A.AA_2, (1,))),
    **_cells(Event.EVT16_ABORT_PDU, ((2, 13), _A.AA_2, (1,)), (_OPEN, _A.AA_3, (1,))),
    **_cells(
        Event.EVT17_TRANSPORT_CLOSED,
        ((2,), _A.AA_5, (1,)),
        ((4, *_OPEN), _A.AA_4, (1,)),
        ((13,), _A.AR_5, (1,)),
    ),
    **_cells(Event.EVT18_ARTIM_EXPIRED, ((2, 13), _A.AA_2, (1,))),
    **_cells(
        Event.EVT19_INVALID_PDU,
        ((2,), _A.AA_1, (13,)),
        (_OPEN, _A.AA_8, (13,)),
        ((13,), _A.AA_7, (13,)),
    ),
}
