"""`dicomrelay hosts` says who is there, and what would be missed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.archive_command import ArchiveCommand
from tests.support.rooms import rooms_at, spooled
from workers.group import group_arrivals


def test_a_host_that_is_away_with_something_is_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What lies in its spool alone is counted; one that runs is no fault."""
    with rooms_at(tmp_path / "home") as (rooms, _):
        spooled(rooms, "1.2.3.4")
        group_arrivals(rooms)
        command = ArchiveCommand(rooms.settings.home, monkeypatch, capsys)
        leases, name = rooms.ledger.named_leases, f"spool/{rooms.host}"

        leases.take(name, owner="a", lease_ms=1)
        away = command.run("hosts", "--json")
        assert away.code == 1
        (host,) = away.json["hosts"]
        assert (host["spool"], host["heard"], host["leads"], host["only_there"]) == (
            rooms.host,
            False,
            False,
            1,
        )

        leases.take(name, owner="a", lease_ms=30_000)
        leases.take("scheduler", owner="a", lease_ms=30_000)
        there = command.run("hosts")
        assert there.code == 0
        assert f"{rooms.host}: runs, leads; 1 instances" in there.out
