"""What doctor says of users and of the audit."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from dicomrelay.access import users_file
from dicomrelay.access.users import hash_of_token
from dicomrelay.audit import Audit, Entry, Kind, Party, trail_of
from dicomrelay.audit.shipped import Place, Shipped
from dicomrelay.cli.checks.access import _behind_s, check_audit, check_users
from dicomrelay.cli.checks.finding import Verdict
from dicomrelay.errors import ExitCode
from dicomrelay.runtime.ports import free_ports
from dicomrelay.settings import AccountSettings, AuditSettings, Settings, StreamerSettings


def account(name: str, **token: object) -> AccountSettings:
    tokens = [{"name": "t", "hash": hash_of_token(name.encode()), **token}] if token else []
    return AccountSettings.model_validate({"name": name, "role": "viewer", "tokens": tokens})


def test_a_door_that_others_reach_and_that_asks_nobody_is_a_warning(tmp_path: Path) -> None:
    """Not so on loopback, and not with a user."""
    assert not [*check_users(Settings(home=tmp_path))]
    open_ = Settings(home=tmp_path, streamer=StreamerSettings(host="10.0.0.1"))
    (found,) = check_users(open_)
    assert (found.verdict, "users add" in found.do) == (Verdict.WARNING, True)
    with users_file.changing(open_.users_path) as users:
        users["ci"] = account("ci", expires="2999-01-01")
    (found,) = check_users(open_)
    assert (found.verdict, found.words) == (Verdict.OK, "1: 1 viewer, 0 operator, 0 admin")


def test_who_cannot_come_in_is_named(tmp_path: Path) -> None:
    """Without a password, and with a token that has ended."""
    settings = Settings(home=tmp_path, users=[account("old", expires="2020-01-01"), account("none")])
    found = [*check_users(settings)]
    assert found[0].verdict is Verdict.WARNING
    assert found[0].words.startswith("old, none cannot come in")


def test_a_users_file_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    """With what to do."""
    (tmp_path / "users.json").write_text("{")
    (found,) = check_users(Settings(home=tmp_path))
    assert (found.verdict, found.code) == (Verdict.FAILED, ExitCode.USAGE)


def test_a_repository_that_does_not_answer_is_a_fault(tmp_path: Path) -> None:
    """And is left alone without --destinations."""
    syslog = {"host": "127.0.0.1", "port": free_ports(1)[0]}
    settings = Settings(home=tmp_path, audit=AuditSettings.model_validate({"syslog": syslog}))
    assert [each.verdict for each in check_audit(settings, None)] == [Verdict.OK]
    assert [(each.verdict, each.code) for each in check_audit(settings, 2.0)][1] == (
        Verdict.FAILED,
        ExitCode.UNREACHABLE,
    )


def test_how_far_the_repository_is_behind(tmp_path: Path) -> None:
    """By the oldest entry that it has not heard."""
    settings = Settings(home=tmp_path)
    assert _behind_s(settings) == 0
    Audit(settings).note(Entry(Kind.LOGIN, "password", Party("anna")))
    trail = trail_of(settings)
    (segment,) = trail.segments()
    an_hour_ago = time.time() - 3600
    os.utime(trail.path(segment), (an_hour_ago, an_hour_ago))
    assert _behind_s(settings) == pytest.approx(3600, abs=60)
    Shipped(tmp_path / "audit").write(Place(segment, trail.path(segment).stat().st_size))
    assert _behind_s(settings) == 0


def test_an_audit_that_is_off_is_a_warning(tmp_path: Path) -> None:
    """Somebody may have forgotten it."""
    (found,) = check_audit(Settings(home=tmp_path, audit=AuditSettings(enabled=False)), None)
    assert found.verdict is Verdict.WARNING
