"""What people do by commands, in the trail; and the commands that read it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from click.testing import CliRunner, Result

from dicomrelay.audit import Audit, Kind, Outcome, Party, trail_of
from dicomrelay.audit.studies import StudyTally
from dicomrelay.audit.values import Entry
from dicomrelay.cli.audited import Audited, lifetime, recorded
from dicomrelay.cli.main import cli
from dicomrelay.errors import AuditError, ConfigurationError
from dicomrelay.settings import Settings
from tests.support.accounts import make_hashes_cheap
from tests.support.archive import pydicom_file
from tests.support.ledger import arrival, claimed_transfer
from tests.support.markdown import ROOT
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


# What only looks, or is a trial that reaches nothing of the house; services have their start and end recorded.
_LOOKS = {
    "accounts/hash_password.py", "accounts/list_users.py", "alerting/list_alerts.py", "alerting/send_trial.py",
    "archiving/check.py", "archiving/conflicts_list.py", "archiving/conflicts_show.py", "archiving/diff.py",
    "archiving/export_index.py", "archiving/list_contents.py", "archiving/query.py", "archiving/scrub.py",
    "archiving/stats.py", "auditing/list_entries.py", "auditing/check.py",
    "check.py", "conformance.py", "demo.py", "doctor.py", "echo.py",
    "editing/list_profiles.py", "editing/new_key.py", "editing/try_profile.py", "find.py", "hosts.py",
    "operating/list_jobs.py", "operating/show.py", "performing/list_steps.py", "performing/show.py",
    "pulling/list_pulls.py", "pulling/show.py", "receive.py", "report.py", "rules/check.py", "rules/explain.py",
    "rules/history.py", "rules/replay.py", "scale_signal.py", "sop_classes.py", "status.py", "trace.py",
    "transfer_syntaxes.py", "up.py", "viewing/show.py", "worklist/list_items.py", "worklist/show.py",
}  # fmt: skip


def test_whatever_is_not_known_to_look_only_is_recorded() -> None:
    """A command that is added and forgotten is found here."""
    folder = ROOT / "dicomrelay" / "cli"
    silent = {
        str(path.relative_to(folder))
        for path in folder.rglob("*.py")
        if path.name != "options.py"
        and "relay_command(" in (text := path.read_text("utf-8"))
        and not re.search(r"audited=|Audited\(|service=True", text)
    }
    assert silent == _LOOKS


def test_what_is_put_in_copied_out_and_removed_is_told_by_study(rooms: Rooms, tmp_path: Path) -> None:
    """Import, Export and DICOM Study Deleted of PS3.15; no path and no patient."""
    home = rooms.settings.home
    files = tmp_path / "CANARY^BIRD"
    files.mkdir()
    for number in range(3):
        made = pydicom.dcmread(pydicom_file("CT_small.dcm"))
        made.PatientName = "CANARY^BIRD"
        made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
        made.save_as(files / f"{number}.dcm")
        study = str(made.StudyInstanceUID)
    assert run(home, "archive", "import", str(files)).exception is None
    assert run(home, "archive", "import", str(files)).exception is None
    out = str(tmp_path / "out.zip")
    assert run(home, "archive", "export", "--study-uid", study, "--output", out).exception is None
    gone = ("--study-uid", study, "--reason", "a trial", "--yes")
    assert run(home, "archive", "remove", *gone).exception is None

    found = [each for each in entries(home) if each.kind is not Kind.ACTION]
    said = [(each.kind, each.other.id if each.other else "", each.facts["instances"]) for each in found]
    assert said == [(Kind.IMPORTED, "folder", 3), (Kind.EXPORTED, "zip", 3), (Kind.DELETED, "", 3)]
    assert {thing.id for each in found for thing in each.things} == {study}
    trail = trail_of(rooms.settings)
    assert b"CANARY" not in b"".join(trail.path(each).read_bytes() for each in trail.segments())


def test_thousands_of_studies_are_entries_of_bounded_size(tmp_path: Path) -> None:
    """A hundred in each, none lost."""
    settings = Settings(home=tmp_path)
    tally = StudyTally(Audit(settings), Kind.DELETED, "archive.retention", Party("retention"))
    for number in range(250):
        tally.add(f"1.2.{number}", 2)
    tally.end({"reason": "old"})
    tally.end()

    found = entries(tmp_path)
    assert [len(each.things) for each in found] == [100, 100, 50]
    assert [each.facts["instances"] for each in found] == [200, 200, 100]


def test_a_trail_that_was_changed_is_told(rooms: Rooms) -> None:
    """Exit code 4, and where; a digest that was noted shows an end that was cut off."""
    home = rooms.settings.home
    assert run(home, "destinations", "hold", "pacs").exception is None
    noted = json.loads(run(home, "audit", "check", "--json").stdout)["last"]
    assert run(home, "destinations", "release", "pacs").exception is None
    whole = run(home, "audit", "check", "--noted", noted)
    assert (whole.return_value, whole.stdout[:8]) == (0, "4 lines,")

    (segment,) = home.joinpath("audit").glob("*.jsonl")
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join([lines[0], lines[1].replace(b"success", b"begun"), *lines[2:]]))
    changed = run(home, "audit", "check")
    assert (changed.return_value, changed.stdout.partition(" ")[0]) == (4, f"{segment.name}:3:")
    segment.write_bytes(lines[0])
    cut = run(home, "audit", "check", "--noted", noted)
    assert cut.return_value == 4
    assert "cut off" in cut.stdout
    assert isinstance(run(home, "audit", "check", "--noted", "x").exception, ConfigurationError)
