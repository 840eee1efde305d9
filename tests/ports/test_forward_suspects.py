"""What holds up a transfer, through the workers' forward path: instances that end associations, peers that refuse for good."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomrelay.ledger.values import Attention, AttentionKind, TransferState
from dicomrelay.ledger.values_operations import Subject, SubjectKind
from dicomrelay.ul.pdu import Abort, AssociateReject
from tests.support.peers import Peer, Script, scripted_peer
from tests.support.rooms import rooms_at, spooled, transfers_of
from workers import forward
from workers.forward import forward_transfer
from workers.group import group_arrivals
from workers.rooms import Rooms

_STUDY = Subject(SubjectKind.STUDY, "1.2.3")
_ALL = [f"1.2.3.{number}" for number in range(10, 27)]


@pytest.fixture
def peer() -> Iterator[Peer]:
    with scripted_peer() as running:
        yield running


@pytest.fixture
def database(backend: str, request: pytest.FixtureRequest) -> str:
    """The setting database.url: the SQLite file in the home, or a server's."""
    return "embedded" if backend == "sqlite" else str(request.getfixturevalue("ledger_url"))


def _toml(peer: Peer, database: str) -> str:
    return (
        f'[database]\nurl = "{database}"\n'
        f'[[destinations]]\nname = "pacs"\nae_title = "PEER"\nhost = "127.0.0.1"\nport = {peer.port}\n'
        "retry_initial_s = 0.001\nretry_max_s = 0.001\n"
    )


@pytest.fixture
def rooms(tmp_path: Path, peer: Peer, database: str) -> Iterator[Rooms]:
    """Rooms with that peer as the only destination, on a ledger of either kind."""
    with rooms_at(tmp_path / "home", _toml(peer, database)) as (made, _):
        yield made


def _transfer(rooms: Rooms, uids: list[str]) -> str:
    for uid in uids:
        spooled(rooms, uid)
    group_arrivals(rooms)
    (transfer,) = transfers_of(rooms)
    return transfer


def _attempt(rooms: Rooms, transfer: str) -> None:
    """Forward as soon as the millisecond of its wait is over."""
    until = time.monotonic() + 10
    while not forward_transfer(rooms, transfer):
        assert time.monotonic() < until


def _counts(rooms: Rooms) -> tuple[int, int]:
    """Delivered, and failed and to be tried again."""
    (study,) = rooms.ledger.studies()
    (to,) = study.destinations
    return to.delivered, to.failed


def _listed(rooms: Rooms, kind: AttentionKind) -> list[Attention]:
    rows = rooms.ledger.needs_attention()
    assert {row.kind for row in rows} <= {kind}
    return rows


@pytest.mark.parametrize("how", [Abort(0, 0), Abort(2, 6), "close", "reset"], ids=str)
@pytest.mark.parametrize("place", [0, 8, 16])
def test_one_that_ends_associations_holds_up_no_other(
    rooms: Rooms, peer: Peer, how: Abort | str, place: int
) -> None:
    """The sixteen others arrive in the first attempt, once each; it is listed after its third, and given when it is taken."""
    poison = _ALL[place]
    peer.script = Script(storing_of={poison: how})
    transfer = _transfer(rooms, _ALL)

    _attempt(rooms, transfer)
    assert _counts(rooms) == (16, 1)
    assert sorted(peer.answered) == sorted(set(_ALL) - {poison})
    assert not rooms.ledger.needs_attention()

    for _ in range(2):
        _attempt(rooms, transfer)
    (row,) = _listed(rooms, AttentionKind.SUSPECT)
    assert (row.sop_instance_uid, row.destination) == (poison, "pacs")
    assert row.reason.startswith("the association ended while it was under way")
    assert peer.whole.count(poison) == 3
    assert len(peer.answered) == 16

    peer.script = Script()
    _attempt(rooms, transfer)
    assert _counts(rooms) == (17, 0)
    assert not rooms.ledger.needs_attention()
    assert not rooms.ledger.waiting()


def test_several_that_end_associations_hold_up_no_other(rooms: Rooms, peer: Peer) -> None:
    """Five in a row at the front: every attempt gets past three of them."""
    poisons = _ALL[:5]
    peer.script = Script(storing_of=dict.fromkeys(poisons, Abort(0, 0)))
    transfer = _transfer(rooms, _ALL)
    for _ in range(2):
        _attempt(rooms, transfer)
    assert sorted(peer.answered) == _ALL[5:]
    assert _counts(rooms) == (12, 5)


def test_one_that_is_met_with_silence_holds_up_no_other(tmp_path: Path, peer: Peer, database: str) -> None:
    """One deadline an attempt and no more; in the second attempt it comes behind the others."""
    peer.script = Script(storing_of={_ALL[0]: "silence", _ALL[1]: "silence"})
    with rooms_at(tmp_path / "home", _toml(peer, database) + "response_timeout_s = 1\n") as (rooms, _):
        transfer = _transfer(rooms, _ALL)
        for met in ((0, 1), (0, 2), (15, 2)):
            began = len(peer.associations)
            _attempt(rooms, transfer)
            assert _counts(rooms) == met
        assert len(peer.associations) - began == 2
    assert sorted(peer.answered) == _ALL[2:]


def test_the_last_attempt_leaves_it_to_a_person(tmp_path: Path, peer: Peer, database: str) -> None:
    """By the destination's own schedule, each trial of its breaker an attempt; the others have long been delivered."""
    peer.script = Script(storing_of={_ALL[0]: Abort(0, 0)})
    toml = _toml(peer, database) + "retry_attempts = 5\nprobe_initial_s = 0.1\nprobe_max_s = 0.1\n"
    with rooms_at(tmp_path / "home", toml) as (rooms, _):
        transfer = _transfer(rooms, _ALL)
        for _ in range(5):
            _attempt(rooms, transfer)
        (row,) = _listed(rooms, AttentionKind.GAVE_UP)
        assert row.sop_instance_uid == _ALL[0]
        assert "under way" in row.reason
        assert len(peer.answered) == 16


@pytest.mark.parametrize("result", [1, 9])
def test_a_rejection_for_good_needs_attention_until_it_is_mended(
    rooms: Rooms, peer: Peer, result: int
) -> None:
    """Tried again all the same, listed with what to do, and gone from the list once it is delivered."""
    peer.script = Script(opening=AssociateReject(result, 1, 7))
    transfer = _transfer(rooms, _ALL[:2])
    _attempt(rooms, transfer)

    rows = _listed(rooms, AttentionKind.BLOCKED)
    assert [row.sop_instance_uid for row in rows] == _ALL[:2]
    assert all("reject" in row.reason and row.advice for row in rows)
    (waiting,) = rooms.ledger.waiting()
    assert waiting.instances == 2

    peer.script = Script()
    _attempt(rooms, transfer)
    assert _counts(rooms) == (2, 0)
    assert not rooms.ledger.needs_attention()


def test_a_rejection_for_now_needs_no_attention(rooms: Rooms, peer: Peer) -> None:
    """And takes what one for good has said off the list."""
    peer.script = Script(opening=AssociateReject(1, 1, 7))
    transfer = _transfer(rooms, _ALL[:1])
    _attempt(rooms, transfer)
    assert _listed(rooms, AttentionKind.BLOCKED)

    peer.script = Script(opening=AssociateReject(2, 3, 1))
    _attempt(rooms, transfer)
    assert not rooms.ledger.needs_attention()
    assert rooms.ledger.waiting()


@pytest.mark.parametrize(
    ("error", "reason", "listed"),
    [
        (ConnectionResetError(104, "reset"), "the connection was lost", 0),
        (PermissionError(13, "no", "CANARY^NAME.dcm"), "the file may not be read", 0),
        (ValueError("CANARY^NAME"), "a fault on our side: ValueError", 1),
    ],
)
def test_any_error_hands_the_transfer_back(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str, listed: int
) -> None:
    """Judged and waiting for its next attempt, not left to its lease; its text, which may name a patient, stays out."""

    def fails(*_: object, **__: object) -> None:
        raise error

    transfer = _transfer(rooms, _ALL[:1])
    monkeypatch.setattr(forward, "send_all", fails)
    claimed = rooms.ledger.claim_transfer(transfer, owner="a", lease_ms=60_000)
    assert claimed is not None

    assert forward.send_claimed(rooms, claimed) is TransferState.WAITING
    (waiting,) = rooms.ledger.waiting()
    assert reason in waiting.reason
    assert "CANARY" not in waiting.reason
    assert len(rooms.ledger.needs_attention()) == listed

    monkeypatch.undo()
    _attempt(rooms, transfer)
    assert _counts(rooms) == (1, 0)


@pytest.mark.parametrize(
    ("failed_before", "state"), [(False, TransferState.READY), (True, TransferState.WAITING)]
)
def test_what_is_handed_back_is_what_the_ledger_says(
    rooms: Rooms, peer: Peer, failed_before: bool, state: TransferState
) -> None:
    """The worker ends before the first instance: one that had failed goes on waiting, with its reason."""
    transfer = _transfer(rooms, _ALL[:1])
    if failed_before:
        peer.script = Script(storing=0x0110)
        _attempt(rooms, transfer)
    rooms.stopping.set()
    until = time.monotonic() + 10
    while (claimed := rooms.ledger.claim_transfer(transfer, owner="a", lease_ms=60_000)) is None:
        assert time.monotonic() < until
    assert forward.send_claimed(rooms, claimed) is state
    assert [row.state for row in rooms.ledger.operations.transfers(_STUDY, limit=1)] == [state]
