"""What people do by commands, in the trail; and the commands that read it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dicomrelay.audit import Outcome, trail_of
from dicomrelay.audit.values import Entry
from dicomrelay.cli.audited import Audited, lifetime, recorded
from dicomrelay.cli.main import cli
from dicomrelay.errors import AuditError, ConfigurationError
from dicomrelay.settings import Settings
from tests.support.accounts import make_hashes_cheap
from tests.support.ledger import arrival, claimed_transfer
from tests.support.rooms import rooms_at
from workers.rooms import Rooms

_TOML = '[[destinations]]\nname = "pacs"\nae_title = "PACS"\nhost = "127.0.0.1"\nport = 104\n'


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rooms]:
    """A home with a destination that an instance waits for."""
    with rooms_at(tmp_path_factory.mktemp("audited") / "home", _TOML) as (found, _):
        claimed_transfer(found.ledger, [arrival(1)])
        yield found


@pytest.fixture
def rooms(made: Rooms, monkeypatch: pytest.MonkeyPatch) -> Rooms:
    """The same, with an empty trail."""
    make_hashes_cheap(monkeypatch)
    trail = made.settings.path("audit")
    if trail.is_dir():
        shutil.rmtree(trail)
    trail.unlink(missing_ok=True)
    return made


def run(home: Path, *words: str, typed: str = "") -> Result:
    return CliRunner().invoke(cli, [*words, "--home", str(home)], input=typed, standalone_mode=False)


def entries(home: Path) -> list[Entry]:
    return [*trail_of(Settings(home=home)).entries()]


def test_a_verb_is_recorded_before_and_after(rooms: Rooms) -> None:
    """Under the account of this machine, with what it was about."""
    home = rooms.settings.home
    study = arrival(1).study_instance_uid
    assert run(home, "jobs", "hold", study, "--destination", "pacs").exception is None
    begun, ended = entries(home)
    assert (begun.what, begun.outcome, ended.outcome) == ("jobs.hold", Outcome.BEGUN, Outcome.SUCCESS)
    assert begun.id == ended.id
    assert begun.actor.id
    assert [(thing.kind, thing.id) for thing in begun.things] == [("subject", study), ("destination", "pacs")]

    assert run(home, "destinations", "hold", "pacs").exception is None
    assert [each.what for each in entries(home)[2:]] == ["destinations.hold", "destinations.hold"]
    run(home, "jobs", "list")
    run(home, "destinations")
    assert len(entries(home)) == 4, "who only looks is not recorded"


def test_one_that_fails_is_recorded_as_that(rooms: Rooms) -> None:
    """What was typed may be anything: only what can be an id is told."""
    home = rooms.settings.home
    assert isinstance(run(home, "jobs", "retry", "MUELLER^HANS", "4711").exception, ConfigurationError)
    begun, ended = entries(home)
    assert [thing.id for thing in begun.things] == ["unknown", "unknown"]
    assert (ended.outcome, ended.words) == (Outcome.SERIOUS, "ConfigurationError")


def test_no_attribute_of_a_patient_comes_into_the_trail(rooms: Rooms) -> None:
    """Whichever command it is given to."""
    home, canary = rooms.settings.home, "CANARY^PATIENT"
    run(home, "worklist", "add", "--patient-id", canary, "--patient-name", canary, "--modality", "CT")
    run(home, "worklist", "remove", canary)
    run(home, "jobs", "cancel", canary, "--yes")
    run(home, "archive", "export", "--patient-id", canary, "--output", str(home / canary))
    run(home, "mpps", "retry", canary)
    found = entries(home)
    assert {
        "worklist.add",
        "worklist.remove",
        "jobs.cancel",
        "archive.export",
        "mpps.retry",
    } <= {each.what for each in found}
    trail = trail_of(Settings(home=home))
    assert not [each for each in trail.segments() if b"CANARY" in trail.path(each).read_bytes()]


def test_users_are_recorded_without_what_they_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one of a fresh home too."""
    make_hashes_cheap(monkeypatch)
    home = tmp_path / "home"
    run(home, "users", "add", "anna", "--role", "operator", typed="correct horse battery\n")
    token = run(home, "users", "token", "add", "anna", "ci").stdout.strip()
    run(home, "users", "role", "anna", "admin")
    found = entries(home)
    assert [each.what for each in found if each.outcome is Outcome.SUCCESS] == [
        "users.add",
        "users.token_add",
        "users.role",
    ]
    content = "".join(path.read_text() for path in (home / "audit").glob("*.jsonl"))
    assert token not in content
    assert "correct horse" not in content
    assert "scrypt" not in content


def test_what_cannot_be_recorded_is_not_done(rooms: Rooms) -> None:
    """And says what is wrong."""
    home = rooms.settings.home
    (before,) = rooms.ledger.flow.destinations("pacs")
    (home / "audit").write_text("a file")
    raised = run(home, "destinations", "release" if before.held_for_ms else "hold", "pacs").exception
    assert isinstance(raised, AuditError)
    assert "audit" in str(raised)
    (after,) = rooms.ledger.flow.destinations("pacs")
    assert (after.held_for_ms is None) == (before.held_for_ms is None)


def test_a_dry_run_and_a_home_that_is_not_there_leave_nothing(tmp_path: Path) -> None:
    """There is nothing that was done."""
    settings = Settings(home=tmp_path / "home")
    assert recorded(Audited("repair", looks=("dry_run",)), settings, {"dry_run": True}, lambda: 1) == 1
    assert recorded(Audited("jobs.hold"), settings, {}, lambda: 2) == 2
    assert not settings.home.exists()
    (settings.home / "spool").mkdir(parents=True)  # as of another: the default home is ./var
    assert recorded(Audited("jobs.hold"), settings, {}, lambda: 2) == 2
    assert [path.name for path in settings.home.iterdir()] == ["spool"]


def test_the_trail_is_shown_by_who_what_and_when(rooms: Rooms) -> None:
    """In words and as JSON."""
    home = rooms.settings.home
    run(home, "destinations", "hold", "pacs")
    run(home, "users", "add", "ci", "--role", "viewer", "--no-password")
    run(home, "users", "remove", "nobody")
    said = run(home, "audit", "list").stdout
    assert "destinations.hold by " in said
    assert "about destination pacs (begun)" in said
    assert "(serious failure) - ConfigurationError" in said
    rows = json.loads(run(home, "audit", "list", "--about", "ci", "--json").stdout)
    assert [(row["what"], row["outcome"]) for row in rows] == [
        ("users.add", "begun"),
        ("users.add", "success"),
    ]
    assert len(json.loads(run(home, "audit", "list", "--failed", "--json").stdout)) == 1
    assert json.loads(run(home, "audit", "list", "--kind", "login", "--json").stdout) == []
    read = json.loads(run(home, "audit", "list", "--kind", "audit_used", "--json").stdout)
    assert len(read) >= 3, "who reads it is in it too"
    assert len(json.loads(run(home, "audit", "list", "--limit", "1", "--json").stdout)) == 1


def test_shipping_wants_a_repository(tmp_path: Path) -> None:
    """The key is named."""
    raised = run(tmp_path, "audit", "ship").exception
    assert isinstance(raised, ConfigurationError)
    assert "[audit.syslog]" in str(raised)


def test_a_service_is_recorded_from_its_start_to_its_end(tmp_path: Path) -> None:
    """One that cannot go on too, with what kept it."""
    settings = Settings(home=tmp_path)
    with lifetime(settings):
        pass
    with pytest.raises(ConfigurationError), lifetime(settings):
        raise ConfigurationError("/srv/CANARY")
    found = entries(tmp_path)
    assert [each.kind.value for each in found] == ["start", "stop", "start", "stop"]
    assert (found[-1].outcome, found[-1].words) == (Outcome.SERIOUS, "ConfigurationError")
