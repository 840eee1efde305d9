"""`dicomrelay check` and `repair` as commands: exit codes, what is printed, and what doctor makes of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dicomrelay.cli import check, repair
from dicomrelay.cli.checks.finding import Verdict
from dicomrelay.cli.checks.integrity import check_integrity
from dicomrelay.cli.integrity_report import last_check_path
from dicomrelay.errors import ConfigurationError
from tests.support.integrity import STUDY, Home, whole_home
from workers.integrity import Invariant


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with whole_home(tmp_path) as made:
        yield made


def _run(command: Any, home: Home, *options: str) -> Result:
    """The command, with its exit code as the entry point would give it."""
    result = CliRunner().invoke(command, ["--home", str(home.settings.home), *options], standalone_mode=False)
    if result.exception:
        raise result.exception
    return result


def test_all_is_well(home: Home) -> None:
    """Exit code 0, and every invariant is listed with nothing found."""
    result = _run(check.command, home, "--read-data", "--json")
    report = json.loads(result.stdout)

    assert (result.return_value, report["exit_code"], report["faults"], report["notes"]) == (0, 0, 0, 0)
    assert len(report["invariants"]) == len(Invariant)
    assert all(row["findings"] == [] for row in report["invariants"])


def test_a_fault_is_told_and_repair_mends_it(home: Home) -> None:
    """Exit code 4 with what is wrong and what to do; after repair 0."""
    home.item(f"{STUDY}.1").unlink()
    before = _run(check.command, home)
    rehearsed = _run(repair.command, home, "--dry-run")
    mended = _run(repair.command, home, "--json")
    after = _run(check.command, home)

    assert before.return_value == 4
    assert f"ledger.bytes: {STUDY}.1: its spool item is gone; the archive has it" in before.stdout
    assert "`dicomrelay repair` points the ledger at the archive" in before.stdout
    assert rehearsed.return_value == 4
    assert "would be mended" in rehearsed.stdout
    assert (mended.return_value, json.loads(mended.stdout)["mended"]) == (0, 1)
    assert (after.return_value, "all invariants hold" in after.stderr) == (0, True)


def test_narrowed_to_one_part(home: Home) -> None:
    """The fault of another part is not looked for."""
    home.item(f"{STUDY}.1").unlink()
    assert [
        _run(check.command, home, option).return_value for option in ("--spool", "--archive", "--ledger")
    ] == [0, 0, 4]


def test_no_attribute_of_a_patient_is_printed_or_logged(home: Home) -> None:
    """Findings of the archive name UIDs: its paths begin with the patient id."""
    folder = home.stored(f"{STUDY}.1").parents[3]
    (folder / "NO_PATIENT_ID").rename(folder / "DOE_JOHN")
    outputs = [
        _run(check.command, home, "--json"),
        _run(repair.command, home, "--dry-run"),
        _run(repair.command, home),
    ]
    logs = [path.read_text("utf-8") for path in home.settings.path("logs").glob("repair_*")]

    assert outputs[0].return_value == 4
    assert logs
    assert not [text for text in [*(o.stdout + o.stderr for o in outputs), *logs] if "DOE_JOHN" in text]


def test_many_findings_are_counted_and_the_first_are_shown(home: Home) -> None:
    """A lost ledger makes as many as there are items."""
    for number in range(30):
        home.settings.path("spool", "corrupt", f"{number:028}.dcm").write_bytes(b"x")
    result = _run(check.command, home)

    assert result.stdout.count("fault spool.corrupt") == 20
    assert "30 × Nothing is in corrupt/." in result.stdout


def test_where_nothing_has_run_there_is_nothing_to_check(tmp_path: Path) -> None:
    """And nothing is made."""
    for command in (check.command, repair.command):
        with pytest.raises(ConfigurationError, match="nothing has run here yet"):
            CliRunner().invoke(
                command, ["--home", str(tmp_path / "h")], standalone_mode=False, catch_exceptions=False
            )
    assert not (tmp_path / "h").exists()


def test_a_destination_that_is_none_is_a_mistake(home: Home) -> None:
    """Before anything is done."""
    for option in ("--mark-delivered", "--resend"):
        with pytest.raises(
            ConfigurationError, match=f"{option} pcas: there is no destination of that name.*pacs"
        ):
            _run(repair.command, home, option, "pcas")


def test_a_lost_ledger_is_rebuilt_as_somebody_says(home: Home) -> None:
    """Spool items go where the rules say, but not to whom somebody says has them; evidence says on whose word."""
    for name in home.settings.path("db").glob("ledger.sqlite*"):
        name.unlink()
    released = home.stored(f"{STUDY}.0")
    for path in home.settings.path("spool", "kept").rglob("*.dcm"):
        if path.samefile(released):
            path.unlink()

    assert _run(repair.command, home, "--mark-delivered", "pacs").return_value == 0

    assert home.sql("SELECT count(*) FROM deliveries") == [(0,)]
    assert home.sql("SELECT count(*) FROM evidence WHERE kind = 'closed'") == [(6,)]
    assert home.sql("SELECT count(*) FROM instances WHERE released_at IS NOT NULL") == [(1,)]
    assert home.faults(read_data=True) == []


def test_years_of_archive_are_sent_again_only_when_somebody_says_so(home: Home) -> None:
    """What only the archive has gets deliveries by --resend alone."""
    for path in home.settings.path("spool", "kept").rglob("*.dcm"):
        path.unlink()
    for name in home.settings.path("db").glob("ledger.sqlite*"):
        name.unlink()

    assert _run(repair.command, home, "--resend", "pacs").return_value == 0
    assert home.sql("SELECT priority, count(*) FROM deliveries GROUP BY priority ORDER BY priority") == [
        ("bulk", 6),
        ("normal", 1),
    ]
    assert home.faults() == []


def test_doctor_says_when_a_check_is_worth_it(home: Home) -> None:
    """Never checked; checked; faults found; long ago; killed; ledger gone."""

    def doctor(*, is_up: bool = False) -> tuple[Verdict, str]:
        (finding,) = check_integrity(home.settings, is_up=is_up)
        return finding.verdict, finding.words

    assert doctor() == (
        Verdict.OK,
        "not checked yet: `dicomrelay check` may run beside the relay, and changes nothing",
    )
    _run(check.command, home)
    assert doctor() == (Verdict.OK, "checked today: names, records and rows, no fault")
    old = {"at": time.time() - 40 * 86_400, "read_data": True, "faults": 0, "notes": 0}
    last_check_path(home.settings).write_text(json.dumps(old), "utf-8")
    assert doctor() == (Verdict.WARNING, "last checked 40 days ago")
    home.item(f"{STUDY}.1").unlink()
    _run(check.command, home)
    assert doctor() == (Verdict.WARNING, "the last check (today, names, records and rows) found 1 faults")
    _run(repair.command, home)
    assert doctor()[0] is Verdict.OK
    home.settings.path("run", "ready").touch()
    assert doctor(is_up=True)[0] is Verdict.OK
    assert doctor() == (Verdict.WARNING, "the relay ended without stopping: it was killed, or the power went")
    home.settings.path("db", "ledger.sqlite").unlink()
    assert doctor()[0] is Verdict.FAILED
