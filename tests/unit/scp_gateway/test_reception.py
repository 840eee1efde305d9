"""From an A-ASSOCIATE-RQ to its answer, question after question."""

from __future__ import annotations

from typing import Any

import pytest
import structlog
from pydantic import ValidationError

from dicomrelay.dimse.messages import CStoreRequest
from dicomrelay.errors import ConfigurationError
from dicomrelay.net.service import Acceptance, AssociationInfo, PeerConnection, Rejection
from dicomrelay.settings import GatewaySettings, PeerSettings, Settings
from dicomrelay.ul.pdu import (
    AssociateRequest,
    CommonExtendedNegotiation,
    ProposedContext,
    UserIdentity,
    UserInformation,
)
from scp_gateway.admission import Peers
from scp_gateway.negotiation import STORAGE_SERVICE_CLASS
from scp_gateway.reception import Reception, check
from tests.support.data_sets import CT_IMAGE_STORAGE, EXPLICIT, IMPLICIT

IDENTITY = {"users": [{"name": "ct"}]}
SPECIAL = "1.3.6.1.4.1.9.9.9"
LOCAL_LIMIT = Rejection(2, 3, 2)


def request(
    calling: str = "CT_1", *, sop_class: str = CT_IMAGE_STORAGE, **information: Any
) -> AssociateRequest:
    context = ProposedContext(1, sop_class, (EXPLICIT, IMPLICIT))
    return AssociateRequest(
        "RELAY", calling, "1.2.840.10008.3.1.1.1", (context,), UserInformation(**information)
    )


def reception(*peers: dict[str, Any], **gateway: Any) -> Reception:
    return Reception(
        GatewaySettings.model_validate(gateway), Peers([PeerSettings.model_validate(peer) for peer in peers])
    )


def at(number: int, address: str = "127.0.0.1") -> PeerConnection:
    """Connection `number`, always from the same port."""
    return PeerConnection(str(number), address, 5000)


def of(number: int) -> AssociationInfo:
    """The association on that connection."""
    return AssociationInfo(str(number), "CT_1", "RELAY", "127.0.0.1", 5000)


def stores(desk: Reception, number: int, sop_class: str) -> bool:
    """Whether an object of that class is taken on that association."""
    return desk.refusal(of(number), CStoreRequest(1, sop_class, "1.2.3")) is None


def test_an_entry_has_so_many_places_and_no_more() -> None:
    """Those of another entry are not counted; a place is free when its association is over."""
    desk = reception({"ae_title": "CT_*", "max_associations": 2}, {"ae_title": "MR"})
    assert isinstance(desk.receive(request(), at(1)), Acceptance)
    assert isinstance(desk.receive(request("MR"), at(2)), Acceptance)
    assert isinstance(desk.receive(request("CT_2"), at(3)), Acceptance)
    assert desk.receive(request(), at(4)) == LOCAL_LIMIT
    assert isinstance(desk.receive(request("MR"), at(4)), Acceptance)
    desk.leave(of(1))
    assert isinstance(desk.receive(request(), at(5)), Acceptance)


def test_who_is_rejected_keeps_no_place() -> None:
    """For its identity, after the place was taken."""
    desk = reception({"max_associations": 1}, identity=IDENTITY)
    for port in range(5):
        wrong = request(user_identity=UserIdentity(1, False, b"x"))
        assert desk.receive(wrong, at(port)) == Rejection(1, 2, 1)
    assert isinstance(desk.receive(request(), at(9)), Acceptance)


def test_the_first_entry_that_fits_counts() -> None:
    """Its transfer syntaxes, and its demand for an identity."""
    desk = reception(
        {"ae_title": "CT_1", "transfer_syntaxes": ["implicit-little-endian"], "identity_required": False},
        {"ae_title": "*"},
        identity={**IDENTITY, "required": True},
    )
    accepted = desk.receive(request(), at(1))
    assert isinstance(accepted, Acceptance)
    assert [each.transfer_syntax for each in accepted.contexts] == [IMPLICIT]
    assert desk.receive(request("MR"), at(2)) == Rejection(1, 2, 1)
    accepted = desk.receive(request("MR", user_identity=UserIdentity(1, True, b"ct")), at(2))
    assert isinstance(accepted, Acceptance)
    assert [each.transfer_syntax for each in accepted.contexts] == [EXPLICIT]
    assert accepted.identity_response == b""


def test_a_peer_may_have_to_show_an_identity_where_others_need_not() -> None:
    desk = reception({"ae_title": "CT_1", "identity_required": True}, {}, identity=IDENTITY)
    assert desk.receive(request(), at(1)) == Rejection(1, 2, 1)
    assert isinstance(desk.receive(request("MR"), at(1)), Acceptance)


def test_without_the_section_identities_are_ignored_and_not_confirmed() -> None:
    """PS3.7 Annex D.3.3.7: an acceptor that does not support them accepts without a response."""
    accepted = reception().receive(request(user_identity=UserIdentity(2, True, b"a", b"b")), at(1))
    assert isinstance(accepted, Acceptance)
    assert accepted.identity_response is None


def test_a_special_class_is_stored_on_its_own_association_and_until_its_end() -> None:
    desk = reception()
    claim = CommonExtendedNegotiation(SPECIAL, STORAGE_SERVICE_CLASS, (CT_IMAGE_STORAGE,))
    assert isinstance(desk.receive(request(sop_class=SPECIAL, common_extended=(claim,)), at(1)), Acceptance)
    assert isinstance(desk.receive(request(), at(2)), Acceptance)
    assert stores(desk, 1, SPECIAL)
    assert not stores(desk, 2, SPECIAL)
    assert stores(desk, 2, CT_IMAGE_STORAGE)
    desk.leave(of(1))
    assert not stores(desk, 1, SPECIAL)


def test_a_peer_that_is_back_from_the_same_port_has_a_seat_of_its_own() -> None:
    """Its last association is dead and still commits; when that is over it frees its own seat and no other."""
    desk = reception({"max_associations": 2})
    claim = CommonExtendedNegotiation(SPECIAL, STORAGE_SERVICE_CLASS, (CT_IMAGE_STORAGE,))
    asked = request(sop_class=SPECIAL, common_extended=(claim,))
    assert isinstance(desk.receive(asked, at(1)), Acceptance)
    assert isinstance(desk.receive(asked, at(2)), Acceptance)
    assert desk.receive(request(), at(3)) == LOCAL_LIMIT
    desk.leave(of(1))
    assert stores(desk, 2, SPECIAL)
    assert isinstance(desk.receive(request(), at(3)), Acceptance)
    assert desk.receive(request(), at(4)) == LOCAL_LIMIT


def test_a_fault_while_negotiating_frees_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = reception({"max_associations": 1}, identity=IDENTITY)

    def fault(*_: object, **__: object) -> None:
        raise MemoryError

    with monkeypatch.context() as broken:
        broken.setattr("scp_gateway.identity.IdentityCheck.check", fault)
        with pytest.raises(MemoryError):
            desk.receive(request(), at(1))
    assert isinstance(desk.receive(request(), at(2)), Acceptance)


def test_the_log_says_why_and_holds_no_secret() -> None:
    desk = reception(identity={"users": [{"name": "ct", "passcode": "geheim"}]})
    with structlog.testing.capture_logs() as log:
        desk.receive(request(user_identity=UserIdentity(2, False, b"my-passcode", b"ct")), at(1))
        accepted = desk.receive(request(user_identity=UserIdentity(2, False, b"ct", b"geheim")), at(1))
    assert isinstance(accepted, Acceptance)
    (line,) = log
    assert line["why"] == "unknown user name or wrong passcode"
    assert (line["result"], line["source"], line["reason"]) == (1, 2, 1)
    assert "passcode" not in {
        part for key, value in line.items() if key != "why" for part in str(value).split()
    }
    assert "my-passcode" not in str(line)
    assert "geheim" not in str(line)
    assert desk.leave(of(1)) == "ct"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"peers": [{"transfer_syntaxes": ["jpeg"]}]},
            "peers.0.transfer_syntaxes: 'jpeg' is no transfer syntax",
        ),
        (
            {"gateway": {"identity": {"users": [{"name": "a", "passcode_hash": "x"}]}}},
            "gateway.identity.users.0.passcode_hash: is no passcode hash",
        ),
        (
            {"gateway": {"identity": {"token": {"key_file": "/none", "issuer": "i", "audience": "a"}}}},
            "gateway.identity.token.key_file: /none cannot be read",
        ),
    ],
)
def test_what_cannot_be_used_is_told_before_anything_is_started(values: dict[str, Any], words: str) -> None:
    """By the key that is wrong."""
    with pytest.raises(ConfigurationError) as caught:
        check(Settings(**values))
    assert str(caught.value).startswith(words)


def test_a_demand_that_nobody_could_meet_is_refused() -> None:
    """A peer must show an identity, and nothing says which hold."""
    with pytest.raises(ValidationError, match=r"peers\.1\.identity_required"):
        Settings(peers=[{}, {"identity_required": True}])
