"""What a runner takes where several hosts are at the ledger."""

from __future__ import annotations

from pathlib import Path

from dicomrelay.ledger.completion import CompletionPolicy
from dicomrelay.ledger.values import ClaimedTransfer, Priority
from tests.support.ledger import arrival
from tests.support.rooms import as_if_shared, rooms_at
from workers.forwarding import Forwarding
from workers.rooms import Rooms


def test_what_is_urgent_in_a_lost_spool_keeps_no_runner_from_the_rest(tmp_path: Path) -> None:
    """It is due at the same destination, and this host cannot read it."""
    with rooms_at(tmp_path / "home") as (alone, _):
        rooms = as_if_shared(alone)
        of_the_lost = {"study_instance_uid": "1.2.9", "series_instance_uid": "1.2.9.1"}
        rooms.ledger.register(
            [
                arrival(1, host="lost", priority=Priority.URGENT, **of_the_lost),
                arrival(2, host=rooms.host),
            ]
        )
        rooms.ledger.completion.complete(CompletionPolicy(0, 0, 200, 10**9, by_host=True), limit=100)
        sent: list[Priority] = []

        def send(_rooms: Rooms, claimed: ClaimedTransfer) -> None:
            sent.append(claimed.priority)

        assert Forwarding(rooms, 8, send=send).run() == 1
        assert sent == [Priority.NORMAL]
