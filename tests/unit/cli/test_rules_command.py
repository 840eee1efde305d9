"""`dicomrelay rules`: check, explain, replay, activate, history, on a house that decided something."""

from __future__ import annotations

import dataclasses
import json
import shutil
import threading
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dicomrelay.cli.checks.finding import Verdict
from dicomrelay.cli.checks.rules import check_rules
from dicomrelay.cli.main import cli
from dicomrelay.cli.rules.explain import _Explained
from dicomrelay.errors import ConfigurationError, ExitCode
from dicomrelay.routing.book import RuleBook
from dicomrelay.routing.facts import Facts
from dicomrelay.routing.rules import RuleSet
from dicomrelay.runtime.home import HomeLock
from dicomrelay.settings import RuleSettings, load
from tests.support.rooms import rooms_at, spooled
from workers import complete
from workers.group import group_arrivals
from workers.rooms import Rooms

_DESTINATIONS = "".join(
    f'[[destinations]]\nname = "{name}"\nae_title = "X"\nhost = "127.0.0.1"\nport = 1\n'
    for name in ("pacs", "other")
)
# Requesting Physician (0032,1032).
CANARY = b"\x32\x00\x32\x10PN\x08\x00CANARY^A"
RULES = """[[rules]]
name = "ct"
when = { modality = "CT", attributes = { RequestingPhysician = "CANARY*" } }
send_to = ["pacs"]

[[rules]]
trigger = "study"
when.instances = { min = 2 }
send_to = ["other"]
"""


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with two instances of a study, decided by both rules, and one instance of another study."""
    home = tmp_path_factory.mktemp("rules") / "home"
    home.mkdir()
    (home / "rules.toml").write_text(RULES)
    with (
        pytest.MonkeyPatch.context() as patch,
        rooms_at(home, f"{_DESTINATIONS}[streamer]\nport = 8099\n") as (made, _),
    ):
        patch.setattr("workers.rooms.RuleBook", partial(RuleBook, settle_s=0))
        config = home / "relay.toml"
        config.write_text('rules_file = "rules.toml"\n' + config.read_text())
        rooms = dataclasses.replace(
            made, settings=made.settings.model_copy(update={"rules_file": Path("rules.toml")})
        )
        for uid, study in (("1.2.9.1", "1.2.3"), ("1.2.9.2", "1.2.3"), ("1.2.9.3", "1.2.4")):
            spooled(rooms, uid, study=study, more=CANARY)
        group_arrivals(rooms)
        complete.make_complete(rooms)
    return home


@pytest.fixture
def home(decided: Path, tmp_path: Path) -> Path:
    """One of our own like it."""
    return Path(shutil.copytree(decided, tmp_path / "home"))


def run(home: Path, *arguments: str | Path) -> Result:
    result = CliRunner().invoke(
        cli, ["rules", *map(str, arguments), "--home", str(home)], standalone_mode=False
    )
    if result.exception is not None:
        raise result.exception
    return result


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "new.toml"
    path.write_text(text)
    return path


def test_check_names_the_line_of_what_is_wrong(home: Path, tmp_path: Path) -> None:
    """Warnings let it pass."""
    assert run(home, "check").return_value == ExitCode.OK
    bad = written(
        tmp_path, '[[rules]]\nsend_to = ["paks"]\n\n[[rules]]\nwhen.attributes = { Nonsense = "x" }\n'
    )
    result = run(home, "check", bad)
    assert result.return_value == ExitCode.USAGE
    assert (
        f"error    {bad}:2: rules.0.send_to: there is no destination 'paks'; known: other, pacs"
        in result.stdout
    )
    both = written(
        tmp_path,
        '[[rules]]\nsendto = ["pacs"]\n\n[[rules]]\nsend_to = ["paks"]\nwhen.attributes = { Nonsense = "x" }\n',
    )
    told = [line for line in run(home, "check", both).stdout.splitlines() if line.startswith("error")]
    assert [line.split(": ")[0].rpartition(":")[2] for line in told] == ["2", "5", "6"]
    assert f"error    {bad}:5: rules.1.when.attributes.Nonsense: PS3.6 has no attribute" in result.stdout
    warned = run(
        home, "check", written(tmp_path, '[[rules]]\nstop = true\n[[rules]]\nsend_to = ["pacs"]\n'), "--json"
    )
    assert (warned.return_value, json.loads(warned.stdout)["warnings"][0]["line"]) == (ExitCode.OK, 3)


def test_explain_says_why_and_no_name(home: Path) -> None:
    """A stored decision, and the rules in force asked once more; the value with --verbose only."""
    told = run(home, "explain", "1.2.9.1").stdout
    assert "decided: rules 0 of version " in told
    assert "decided of study 1.2.3: rules 1 of version " in told
    assert "rule 0 (ct), of instance: matches" in told
    assert "yes     modality = 'CT'  <- 'CT'" in told
    assert "rule 1, of study: matches" in told
    assert "so by its own rules: to pacs, archive, priority normal" in told
    assert "CANARY^A" not in told
    assert "CANARY^A" not in run(home, "explain", "1.2.9.1", "--json").stdout


def test_explain_asks_rules_of_series_of_the_series() -> None:
    """Of a study with two of them."""
    rules = RuleSet(
        [
            RuleSettings.model_validate({"trigger": level, "when": {"modality": "MR"}})
            for level in ("series", "study")
        ],
        [],
    )
    both = [Facts(modality="CT"), Facts(modality="MR")]
    for number, expected in ((0, False), (1, True)):
        explained = _Explained(rules, both, 0, [], number, [both[number]]).as_json(verbose=False)
        assert [each["condition"]["holds"] for each in explained["rules"]] == [expected, True]


def test_explain_asks_about_a_file(home: Path) -> None:
    """As if it came now."""
    (item,) = [path for path in (home / "spool").rglob("*.dcm") if b"1.2.9.3" in path.read_bytes()]
    told = run(home, "explain", item, "--source-ae", "CT_1").stdout
    assert "rule 1, of study: does not match" in told
    assert "(not shown: --verbose shows it)" in told
    assert "CANARY^A" in run(home, "explain", item, "--verbose").stdout
    with pytest.raises(ConfigurationError, match="Nothing here has the UID"):
        run(home, "explain", "1.9.9")


def test_replay_finds_nothing_with_the_rules_that_decided(home: Path) -> None:
    """Also where they ask for a name, and for a study."""
    result = run(home, "replay", "--since", "1d", "--json")
    found = json.loads(result.stdout)
    assert (result.return_value, found["decisions"], found["changed"], found["unknown"]) == (
        ExitCode.OK,
        3,
        0,
        0,
    )


def test_replay_counts_what_would_be_otherwise(home: Path, tmp_path: Path) -> None:
    """What it asks beyond what was stored is read from the bytes."""
    new = written(
        tmp_path,
        '[[rules]]\nsend_to = ["pacs"]\n[rules.when.attributes]\n'
        'RequestingPhysician = { regex = "^CANARY" }\nStudyInstanceUID = "1.2.4"\n',
    )
    result = run(home, "replay", "--with", new, "--json")
    found = json.loads(result.stdout)
    assert (result.return_value, found["decisions"], found["changed"]) == (ExitCode.SOME_FAILED, 3, 2)
    assert (found["lost"], found["gained"], found["changed_studies"]) == (
        {"pacs": 2, "other": 2},
        {},
        ["1.2.3"],
    )
    told = run(home, "replay", "--with", new, "--limit", "1").stdout
    assert "pacs loses 2 instances" in told
    assert "and 1 more" in told
    assert run(home, "replay", "--since", "0s", "--with", new).stdout.startswith("0 decisions")


def test_rules_that_change_too_much_are_not_put_in_force_unless_forced(home: Path, tmp_path: Path) -> None:
    """And then the file before is kept, and takes one back."""
    path = home / "rules.toml"
    new = written(tmp_path, '[[rules]]\nsend_to = ["other"]\n')
    refused = run(home, "activate", new)
    assert (refused.return_value, path.read_text()) == (ExitCode.SOME_FAILED, RULES)
    assert "not in force: 100.0 % is more than rule_changes.max_percent (10 %)" in refused.stdout
    assert run(home, "activate", new, "--force").return_value == ExitCode.OK
    previous = path.with_name("rules.toml.previous")
    assert (path.read_text(), previous.read_text()) == (new.read_text(), RULES)
    assert run(home, "activate", previous).return_value == ExitCode.OK
    assert (path.read_text(), previous.read_text()) == (RULES, new.read_text())
    assert not list(path.parent.glob("*.fresh"))
    history = json.loads(run(home, "history", "--json").stdout)
    forced = [each["forced"] for each in history["activations"]]
    assert (forced, history["activations"][0]["previous"]) == (
        [False, True],
        history["activations"][1]["version"],
    )
    assert len(history["versions"]) == 2
    text = run(home, "history", history["activations"][0]["version"][:8]).stdout
    assert json.loads(text)["rules"][0]["name"] == "ct"


def test_what_is_there_already_is_not_written_again(home: Path, tmp_path: Path) -> None:
    """Or the way back would be to where one is."""
    path, new = home / "rules.toml", written(tmp_path, RULES + "# the same\n")
    path.rename(tmp_path / "elsewhere.toml")
    path.symlink_to(tmp_path / "elsewhere.toml")
    path.chmod(0o640)
    assert "what was there is elsewhere.toml.previous" in run(home, "activate", new).stdout
    again = run(home, "activate", new)
    assert (again.return_value, "says so already" in again.stdout) == (ExitCode.OK, True)
    previous = tmp_path / "elsewhere.toml.previous"
    assert path.is_symlink()
    assert (path.read_text(), previous.read_text()) == (new.read_text(), RULES)
    # Who may read it, still may.
    assert [each.stat().st_mode & 0o777 for each in (path, previous)] == [0o640, 0o640]
    assert len(json.loads(run(home, "history", "--json").stdout)["activations"]) == 1


def test_the_first_rules_take_the_place_of_none(home: Path, tmp_path: Path) -> None:
    """Nothing is said of a file that is not there."""
    path = home / "rules.toml"
    path.unlink()
    told = run(home, "activate", written(tmp_path, RULES)).stdout
    assert "there was none before" in told
    assert not path.with_name("rules.toml.previous").exists()


def test_who_dies_before_the_file_is_there_has_left_a_line(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the way back is as it was; the versions of both are known."""

    def die(*_: object) -> None:
        raise SystemExit(137)

    new = written(tmp_path, '[[rules]]\nsend_to = ["other"]\n')
    with monkeypatch.context() as patch:
        patch.setattr("dicomrelay.cli.rules.activate.put_in_place", die)
        with pytest.raises(SystemExit):
            run(home, "activate", new, "--force")
    path = home / "rules.toml"
    assert path.read_text() == RULES
    assert run(home, "activate", new, "--force").return_value == ExitCode.OK
    assert path.with_name("rules.toml.previous").read_text() == RULES
    history = json.loads(run(home, "history", "--json").stdout)
    known = {each["version"] for each in history["versions"]}
    assert [each["previous"] in known for each in history["activations"]] == [True, True]


def test_what_the_relay_that_runs_refuses_is_not_said_to_be_in_force(home: Path, tmp_path: Path) -> None:
    """It has the settings of its start, in which there is no such destination yet."""
    config = home / "relay.toml"
    now = config.read_text()
    config.write_text(now + "[worker]\nsweep_seconds = 0.1\n")
    old = load(home=home)
    config.write_text(config.read_text().replace('name = "other"', 'name = "later"'))
    lock, stop = HomeLock(old), threading.Event()
    rooms = Rooms.open(old)
    rooms._books.append(RuleBook(old, settle_s=0))
    lock.take()

    def look() -> None:
        while not stop.wait(0.02):
            rooms.rules()

    relay = threading.Thread(target=look)
    relay.start()
    try:
        good = written(tmp_path, RULES.replace('send_to = ["other"]', 'send_to = ["pacs"]'))
        assert "it is in force" in run(home, "activate", good, "--force").stdout
        new = written(tmp_path, '[[rules]]\nsend_to = ["later"]\n')
        refused = run(home, "activate", new, "--force")
        doctor = list(check_rules(load(home=home)))
        status = CliRunner().invoke(cli, ["status", "--home", str(home)], standalone_mode=False).stdout
    finally:
        stop.set()
        relay.join()
        lock.release()
        rooms.close()
    assert refused.return_value == ExitCode.SOME_FAILED
    assert "NOT in force: the relay that runs refuses it" in refused.stdout
    assert "there is no destination 'later'" in refused.stdout
    assert doctor[0].verdict is Verdict.FAILED
    assert "the relay refuses" in status
    # One that does not run refuses nothing.
    assert [each.verdict for each in check_rules(load(home=home))] == [Verdict.OK]


def test_a_relay_that_has_not_answered_yet_is_not_said_to_take_it(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may yet refuse it; where none runs, nobody is waited for."""
    monkeypatch.setattr("dicomrelay.cli.rules.activate._taken", lambda *_: None)
    new = written(tmp_path, RULES + "# the same\n")
    lock = HomeLock(load(home=home))
    lock.take()
    try:
        told = run(home, "activate", new).stdout
    finally:
        lock.release()
    assert "the relay that runs has not said yet whether it takes it: `dicomrelay status` says" in told
    assert "in force within seconds" not in told
    assert "it is in force within seconds where a relay runs" in run(home, "activate", new).stdout


def test_what_is_wrong_is_not_put_in_force(home: Path, tmp_path: Path) -> None:
    """Also with --force."""
    path = home / "rules.toml"
    with pytest.raises(ConfigurationError, match=r"new\.toml:1: is not valid TOML"):
        run(home, "activate", written(tmp_path, "[[rules\n"), "--force")
    assert path.read_text() == RULES


def test_trace_tells_what_rules_of_studies_decided(home: Path) -> None:
    """Beside what the evidence has."""
    result = CliRunner().invoke(cli, ["trace", "1.2.3", "--home", str(home)], standalone_mode=False)
    assert "decided: of study 1.2.3, by rules 1 of " in result.stdout
    assert "to other" in result.stdout


def test_doctor_tells_of_the_rules(home: Path) -> None:
    """Their version; what looks wrong; what keeps them from being asked."""
    path = home / "rules.toml"
    (sound,) = check_rules(load(home=home))
    assert (sound.verdict, sound.words[:2]) == (Verdict.OK, "2 ")
    path.write_text('[[rules]]\nwhen.modality = []\nsend_to = ["pacs"]\n')
    (odd,) = check_rules(load(home=home))
    assert (odd.verdict, "never holds" in odd.words) == (Verdict.WARNING, True)
    path.unlink()
    (gone,) = check_rules(load(home=home))
    assert (gone.verdict, "cannot be read" in gone.words) == (Verdict.FAILED, True)
