"""What a requestor proposes, and what the answer may do with it."""

from __future__ import annotations

from typing import Any

import pytest

from dicomrelay.errors import ConfigurationError, RemoteProtocolError
from dicomrelay.net.proposal import Negotiated, Proposal, RemoteAe, read_answer, request_pdu
from dicomrelay.ul.pdu import (
    AssociateAccept,
    AsynchronousOperations,
    CommonExtendedNegotiation,
    ContextDecision,
    ExtendedNegotiation,
    RoleSelection,
    UserIdentity,
    UserInformation,
)
from tests.support.data_sets import CT_IMAGE_STORAGE, EXPLICIT, IMPLICIT

PEER = RemoteAe("PACS", "10.0.0.9", 104)
MR = "1.2.840.10008.5.1.4.1.1.4"


def proposed(**items: Any) -> Any:
    contexts = [(CT_IMAGE_STORAGE, (EXPLICIT,)), (MR, (IMPLICIT,))]
    return request_pdu(PEER, Proposal("RELAY", contexts, **items))


def negotiated(*decisions: ContextDecision, proposal: Any = None, **answered: Any) -> Negotiated:
    answer = AssociateAccept("PACS", "RELAY", "1.2.840.10008.3.1.1.1", decisions, UserInformation(**answered))
    return read_answer(proposal or proposed(), answer)


@pytest.mark.parametrize(
    "decision",
    [ContextDecision(5, 0, EXPLICIT), ContextDecision(1, 0, IMPLICIT), ContextDecision(3, 0, "")],
)
def test_a_context_or_a_transfer_syntax_that_was_not_proposed_is_a_protocol_error(
    decision: ContextDecision,
) -> None:
    """PS3.8 Section 9.3.3.2; bytes would go out in a transfer syntax that they are not in."""
    with pytest.raises(RemoteProtocolError):
        negotiated(decision)


def test_refused_contexts_are_not_used_whatever_syntax_they_name() -> None:
    """Not significant when refused (PS3.8 Section 9.3.3.2)."""
    agreed = negotiated(ContextDecision(1, 4, IMPLICIT), ContextDecision(3, 0, IMPLICIT))
    assert agreed.accepted == {(MR, IMPLICIT): 3}


@pytest.mark.parametrize(
    ("asked", "answered", "agreed"),
    [
        ((True, True), (True, True), (True, True)),
        ((False, True), (False, True), (False, True)),
        ((True, True), (True, False), (True, False)),
        ((False, True), (False, False), (False, False)),
        ((False, True), None, (True, False)),  # the default roles
        ((True, False), (True, True), (True, False)),  # more than was asked: ignored
        ((False, True), (True, True), (False, True)),
    ],
)
def test_roles(
    asked: tuple[bool, bool], answered: tuple[bool, bool] | None, agreed: tuple[bool, bool]
) -> None:
    """PS3.7 Annex D.3.3.4: the requestor shall ignore the response if it has not proposed the role."""
    answer = (RoleSelection(MR, *answered),) if answered else ()
    other = RoleSelection(CT_IMAGE_STORAGE, True, True)  # of a class that no role was proposed for
    proposal = proposed(roles=[RoleSelection(MR, *asked)])
    assert negotiated(proposal=proposal, roles=(*answer, other)).roles == {MR: agreed}


@pytest.mark.parametrize(
    ("asked", "answered", "agreed"),
    [
        (1, None, 1),
        (1, 8, 1),
        (8, None, 1),
        (8, 8, 8),
        (8, 3, 3),
        (8, 99, 8),
        (8, 0, 8),
        (0, 5, 5),
        (0, 0, 0),
    ],
)
def test_the_smaller_window_holds(asked: int, answered: int | None, agreed: int) -> None:
    """0 is no limit, silence is 1 (PS3.7 Annex D.3.3.3)."""
    window = AsynchronousOperations(answered, 1) if answered is not None else None
    assert negotiated(proposal=proposed(window=asked), asynchronous_operations=window).window == agreed


def test_a_window_of_one_is_not_spoken_of() -> None:
    assert proposed().user_information.asynchronous_operations is None
    assert proposed(window=4).user_information.asynchronous_operations == AsynchronousOperations(4, 1)


def test_answers_about_what_was_not_asked_are_passed_over() -> None:
    """Extended negotiation of another class, a response to an identity that was not shown."""
    proposal = proposed(extended=[ExtendedNegotiation(MR, b"\2")])
    extended = (ExtendedNegotiation(MR, b"\1"), ExtendedNegotiation(CT_IMAGE_STORAGE, b"\1"))
    agreed = negotiated(proposal=proposal, extended=extended, user_identity_response=b"x")
    assert agreed.extended == {MR: b"\1"}
    assert agreed.identity_response is None
    shown = proposed(identity=UserIdentity(1, True, b"ct"))
    assert negotiated(proposal=shown, user_identity_response=b"x").identity_response == b"x"


@pytest.mark.parametrize(
    "items",
    [
        {"window": -1},
        {"window": 65_536},
        {"identity": UserIdentity(5, False, b"x" * 65_536)},
        {"identity": UserIdentity(5, False, b"x" * 65_500)},
        {"roles": [RoleSelection("1.2.ü", True, True)]},
        {"common_extended": [CommonExtendedNegotiation("1.2", "1.2", ("1.2." + "3" * 60,) * 1200)]},
    ],
)
def test_what_no_item_can_hold_is_said_before_anything_is_sent(items: dict[str, Any]) -> None:
    """With the peer, and without the secret."""
    with pytest.raises(ConfigurationError, match=r"^PACS@10\.0\.0\.9:104: ") as caught:
        proposed(**items)
    assert "xxx" not in str(caught.value)
