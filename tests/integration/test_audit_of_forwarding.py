"""What goes to a destination, in the trail: begun, and how it ended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomrelay.audit import Entry, Kind, Outcome, trail_of
from dicomrelay.net.service import StoreReply
from dicomrelay.runtime.ports import free_ports
from tests.support.engine import MemoryService, Running, running_acceptor
from tests.support.rooms import CT, rooms_at, spooled, transfers_of
from workers.forward import forward_transfer
from workers.group import group_arrivals
from workers.rooms import Rooms


@pytest.fixture
def peer() -> Iterator[Running]:
    """A peer that answers with `service.reply`."""
    with running_acceptor(MemoryService()) as running:
        yield running


def _toml(port: int) -> str:
    return (
        f'[[destinations]]\nname = "pacs"\nae_title = "PACS"\nhost = "127.0.0.1"\nport = {port}\n'
        "retry_initial_s = 0.001\nretry_max_s = 0.001\n"
    )


def _sent(rooms: Rooms, *uids: str) -> list[Entry]:
    """The trail of one attempt."""
    for uid in uids:
        spooled(rooms, uid)
    group_arrivals(rooms)
    (transfer,) = transfers_of(rooms)
    forward_transfer(rooms, transfer)
    return [*trail_of(rooms.settings).entries()]


def test_what_was_delivered_is_told_by_study(tmp_path: Path, peer: Running) -> None:
    """From us to the destination, at its address."""
    with rooms_at(tmp_path / "home", _toml(peer.port)) as (rooms, _):
        begun, ended = _sent(rooms, "1.2.3.4", "1.2.3.5")
    assert (begun.kind, ended.kind) == (Kind.BEGIN, Kind.TRANSFERRED)
    for each in (begun, ended):
        (thing,) = each.things
        assert (thing.id, thing.instances) == ("1.2.3", {CT: 2})
        assert each.other is not None
        assert (each.actor.id, each.other.id, each.other.address) == ("DICOMRELAY", "PACS", "127.0.0.1")
        assert each.by_us
    assert (ended.outcome, ended.facts["instances"]) == (Outcome.SUCCESS, 2)


def test_what_was_refused_is_a_failure(tmp_path: Path, peer: Running) -> None:
    """The peer's words are not told: they may name a patient."""
    peer.service.reply = StoreReply(0xC000, "CANARY^PATIENT is unknown")
    with rooms_at(tmp_path / "home", _toml(peer.port)) as (rooms, _):
        _, ended = _sent(rooms, "1.2.3.4")
        assert (ended.outcome, ended.words) == (Outcome.SERIOUS, "1 of 1 not delivered: needs_attention")
        content = b"".join(path.read_bytes() for path in rooms.settings.path("audit").glob("*.jsonl"))
        assert b"CANARY" not in content


@pytest.mark.long
def test_nobody_there_is_an_attempt_that_failed(tmp_path: Path) -> None:
    """It began, and nothing came of it."""
    with rooms_at(tmp_path / "home", _toml(free_ports(1)[0])) as (rooms, _):
        begun, ended = _sent(rooms, "1.2.3.4")
    assert (begun.outcome, ended.outcome) == (Outcome.SUCCESS, Outcome.SERIOUS)
    assert ended.words == "1 of 1 not delivered: waiting"


def test_a_trail_that_cannot_be_written_stops_nothing(tmp_path: Path, peer: Running) -> None:
    """An audit that stops the house would be the easiest attack on it."""
    with rooms_at(tmp_path / "home", _toml(peer.port)) as (rooms, _):
        rooms.settings.path("audit").write_text("a file")
        spooled(rooms, "1.2.3.4")
        group_arrivals(rooms)
        (transfer,) = transfers_of(rooms)
        forward_transfer(rooms, transfer)
    assert len(peer.service.stored) == 1
