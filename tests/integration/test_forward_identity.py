"""A destination is shown who we are; the token's file is read for each association."""

from __future__ import annotations

from pathlib import Path

from dicomrelay.net.service import Acceptance
from dicomrelay.ul.pdu import AssociateRequest, ContextDecision, UserIdentity
from tests.support.engine import MemoryService, Running, running_acceptor
from tests.support.house import wait_for
from tests.support.rooms import rooms_at, spooled, transfers_of
from workers.forward import forward_transfer
from workers.group import group_arrivals
from workers.rooms import Rooms


def _confirmed(_request: AssociateRequest, decisions: list[ContextDecision]) -> Acceptance:
    return Acceptance(decisions, identity_response=b"")


def _toml(port: int, identity: str) -> str:
    return (
        f'[[destinations]]\nname = "pacs"\nae_title = "RELAY"\nhost = "127.0.0.1"\nport = {port}\n'
        f"retry_initial_s = 0.001\nretry_max_s = 0.001\nidentity = {identity}\n"
    )


def _delivered(rooms: Rooms, transfer: str, peer: Running) -> bool:
    forward_transfer(rooms, transfer)
    return bool(peer.service.stored)


def test_a_user_is_shown_and_must_be_confirmed(tmp_path: Path) -> None:
    """A peer that ignores identities is sent nothing while `confirm` holds."""
    identity = '{ user = "relay", passcode = "geheim", confirm = true }'
    with (
        running_acceptor(MemoryService()) as peer,
        rooms_at(tmp_path / "home", _toml(peer.port, identity)) as (rooms, _),
    ):
        spooled(rooms, "1.2.3.1")
        group_arrivals(rooms)
        (transfer,) = transfers_of(rooms)
        forward_transfer(rooms, transfer)
        assert not peer.service.stored
        (waiting,) = rooms.ledger.waiting()
        assert "did not confirm the user identity" in waiting.reason
        assert "geheim" not in waiting.reason

        peer.service.answer = _confirmed
        wait_for(lambda: _delivered(rooms, transfer, peer), timeout_s=20, what="the instance is delivered")
        assert peer.service.requests[-1].user_information.user_identity == UserIdentity(
            2, True, b"relay", b"geheim"
        )


def test_a_token_that_is_missing_is_waited_for_and_a_new_one_is_used(tmp_path: Path) -> None:
    """The file is the identity provider's to renew; no restart of ours."""
    token = tmp_path / "token"
    with (
        running_acceptor(MemoryService()) as peer,
        rooms_at(tmp_path / "home", _toml(peer.port, f'{{ jwt_file = "{token}" }}')) as (rooms, _),
    ):
        spooled(rooms, "1.2.3.1")
        group_arrivals(rooms)
        (transfer,) = transfers_of(rooms)
        forward_transfer(rooms, transfer)
        (waiting,) = rooms.ledger.waiting()
        assert str(token) in waiting.reason
        assert not peer.service.requests

        token.write_text("a.b.c\n")
        wait_for(lambda: _delivered(rooms, transfer, peer), timeout_s=20, what="the instance is delivered")
        assert peer.service.requests[-1].user_information.user_identity == UserIdentity(5, False, b"a.b.c")
