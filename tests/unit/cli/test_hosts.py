"""`dicomrelay hosts` says who is there, and what would be missed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dicomrelay.cli.checks.finding import Verdict
from dicomrelay.cli.checks.hosts import of_hosts
from dicomrelay.ledger.hosts import HostFound
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
        monkeypatch.setattr("dicomrelay.cli.hosts.is_shared", lambda _: True)
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


def test_one_machine_alone_is_not_told_of_schedulers_that_do_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the ledger is a file nobody takes a lease: that says nothing of whether it runs."""
    with rooms_at(tmp_path / "home") as (rooms, _):
        command = ArchiveCommand(rooms.settings.home, monkeypatch, capsys)
        assert command.run("hosts").lines == [
            "this host alone: the ledger is a file of its home; `dicomrelay status` says how it is"
        ]
        spooled(rooms, "1.2.3.4")
        group_arrivals(rooms)

        told = command.run("hosts")
        assert told.code == 0
        assert told.lines[1:] == [f"{rooms.host}: 1 instances are in its spool and not in the archive yet"]
        as_json = command.run("hosts", "--json")
        assert (as_json.code, as_json.json["alone"]) == (0, True)


_LEADS = HostFound("gateway-1-00000001", 1000, True, 0)


@pytest.mark.parametrize(
    ("found", "waiting", "verdicts", "words"),
    [
        ([_LEADS], 3, [Verdict.OK], "1 schedulers are heard of, gateway-1-00000001 leads"),
        ([_LEADS], 0, [Verdict.OK], "leads"),
        ([replace(_LEADS, spool="other-00000002")], 3, [Verdict.FAILED, Verdict.OK], "3 instances wait"),
        ([replace(_LEADS, heard_ms_ago=40_000)], 3, [Verdict.FAILED, Verdict.WARNING], "no scheduler leads"),
        (
            [_LEADS, HostFound("lost-00000003", None, False, 7)],
            0,
            [Verdict.WARNING, Verdict.OK],
            "lost-00000003 is not heard of, and 7",
        ),
        ([], 0, [Verdict.WARNING], "no scheduler leads"),
    ],
)
def test_doctor_knows_a_spool_that_nobody_looks_after(
    found: list[HostFound], waiting: int, verdicts: list[Verdict], words: str
) -> None:
    """What waits there waits for ever; and what only a lost host has."""
    findings = list(of_hosts(found, _LEADS.spool, waiting))
    assert [each.verdict for each in findings] == verdicts
    assert any(words in each.words for each in findings)
