"""`dicomrelay mpps`, on a real ledger: what is shown, what is not, and trying again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dicomrelay.cli.main import cli
from dicomrelay.errors import ConfigurationError, InstanceNotFound
from dicomrelay.ledger import Ledger
from dicomrelay.ledger.migrate import migrate
from dicomrelay.runtime import home
from dicomrelay.scheduling.performed_steps import PerformedSteps
from dicomrelay.scheduling.performed_values import ForwardPeer
from dicomrelay.settings import Settings
from tests.support import performed as said
from tests.support.ledger import arrival

UID = "1.2.9"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    settings = Settings(home=tmp_path)
    home.prepare(settings)
    migrate(home.ledger_url(settings))
    return tmp_path


@pytest.fixture
def steps(folder: Path) -> Iterator[PerformedSteps]:
    """With one step that the RIS refuses, and one that is over and has been heard."""
    found = PerformedSteps.open(home.ledger_url(Settings(home=folder)), [ForwardPeer("ris")])
    for uid in (UID, "1.2.8"):
        found.create(said.message(said.created(), uid))
    found.change(said.message(said.ended(references=["1.2.3.1", "1.2.3.2"])))
    for claimed in found.claim("ris", owner="test", lease_ms=60_000, limit=9):
        if claimed.sop_instance_uid == UID:
            found.give_up(claimed, status=0x0106, reason="the peer answered 0x0106")
        else:
            found.sent(claimed, 0)
    yield found
    found.dispose()


def run(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(
        cli, ["mpps", *words, "--home", str(folder)], standalone_mode=False, catch_exceptions=False
    )


def as_json(folder: Path, *words: str) -> Any:
    return json.loads(run(folder, *words, "--json").stdout)


def test_they_are_listed_without_their_patients(folder: Path, steps: PerformedSteps) -> None:
    assert steps
    text = run(folder, "list").stdout
    assert f"COMPLETED     {UID}\n" in text
    assert "IN PROGRESS   1.2.8\n" in text
    assert "2 instances in 1 series, told in 2 messages" in text
    assert "to ris: 1 waiting, 1 needs attention\n                message 1: the peer answered 0x0106" in text
    assert "to ris: 1 sent" in text
    assert "mpps retry UID" in text
    for words in (["list"], ["show", UID], ["show", "1.2.8"]):
        for more in ([], ["--json"]):
            shown = run(folder, *words, *more).stdout
            assert not any(each in shown for each in ("Müller", "M\\u00fcller", "P4711", "19700101"))
    assert [
        each["sop_instance_uid"] for each in as_json(folder, "list", "--state", "completed")["steps"]
    ] == [UID]
    assert as_json(folder, "list", "--study", "9.9") == {"steps": []}
    assert "no performed procedure step like that" in run(folder, "list", "--study", "9.9").stdout


def test_the_status_counts_what_needs_attention(folder: Path, steps: PerformedSteps) -> None:
    """And says what to do; it names no step."""

    def status(*words: str) -> Result:
        return CliRunner().invoke(cli, ["status", *words, "--home", str(folder)], standalone_mode=False)

    assert "1 message about performed procedure steps (MPPS) not taken" in status().stdout
    assert status().return_value == 1
    assert json.loads(status("--json").stdout)["performed_step_messages_not_taken"] == 1
    (stuck,) = as_json(folder, "list", "--stuck")["steps"]
    steps.retry(stuck["sop_instance_uid"])
    assert "nothing needs attention" in status().stdout
    assert as_json(folder, "list", "--stuck") == {"steps": []}


def test_a_trace_says_what_the_modality_made_and_what_is_not_here(
    folder: Path, steps: PerformedSteps
) -> None:
    ledger = Ledger.open(home.ledger_url(Settings(home=folder)))
    ledger.register([arrival(1, study_instance_uid=said.STUDY)])
    ledger.dispose()
    words = ["trace", said.STUDY, "--home", str(folder)]
    text = CliRunner().invoke(cli, words, standalone_mode=False, catch_exceptions=False).stdout
    line = f"performed step {UID}: COMPLETED at CT_1, 20240131 101500 to 20240131 103000, 2 instances in 1 series"
    assert f"{line}, 1 of them not here\n" in text
    assert "performed step 1.2.8: IN PROGRESS at CT_1, 20240131 101500, 0 instances in 0 series\n" in text
    found = json.loads(CliRunner().invoke(cli, [*words, "--json"], standalone_mode=False).stdout)
    assert [each["missing"] for each in found["performed_steps"]] == [1, 0]
    assert steps.steps(study_instance_uid=said.STUDY)


def test_one_is_shown_with_its_messages(folder: Path, steps: PerformedSteps) -> None:
    assert steps
    text = run(folder, "show", UID).stdout
    assert "accession number A1, requested procedure RP1, scheduled step SPS1" in text
    assert "N-CREATE from CT_1: IN PROGRESS\n    to ris: needs attention: the peer answered 0x0106" in text
    assert "N-SET    from CT_1: COMPLETED\n    to ris: waiting\n" in text
    found = as_json(folder, "show", UID)
    assert (found["state"], found["study_instance_uids"]) == ("COMPLETED", [said.STUDY])
    assert [each["kind"] for each in found["message_list"]] == ["N-CREATE", "N-SET"]
    assert "attributes" not in found
    named = as_json(folder, "show", UID, "--attributes")["attributes"]
    assert named["00100010"]["Value"] == [{"Alphabetic": "Müller^Jürgen"}]


def test_what_needs_attention_is_tried_again(
    folder: Path, steps: PerformedSteps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whom the settings do not know nobody can tell: it is said, and stays listed."""
    for words in (["retry", UID], ["retry", "--all"]):
        result = run(folder, *words)
        assert (result.return_value, result.stdout) == (1, "0 messages will be forwarded now\n")
        assert "mpps drop UID --to ris" in result.stderr
    assert len(as_json(folder, "list", "--stuck")["steps"]) == 1
    monkeypatch.setenv(
        "DICOMRELAY_PERFORMED_PROCEDURE_STEPS__DESTINATIONS",
        '[{"name": "ris", "ae_title": "RIS", "host": "127.0.0.1"}]',
    )
    assert run(folder, "retry", UID).stdout == "1 message will be forwarded now\n"
    (claimed,) = steps.claim("ris", owner="test", lease_ms=60_000, limit=9)
    assert (claimed.sop_instance_uid, claimed.number) == (UID, 1)
    assert "to ris: waiting: the peer answered 0x0106; being sent\n" in run(folder, "show", UID).stdout
    assert as_json(folder, "retry", "--all") == {"messages": 0, "unknown_destinations": []}


def test_a_peer_may_be_told_nothing_more(folder: Path, steps: PerformedSteps) -> None:
    """Neither what waits nor what comes later; then nothing keeps the step."""
    with pytest.raises(ConfigurationError, match="ris has"):
        run(folder, "drop", UID, "--to", "old")
    assert "2 messages given up" in run(folder, "drop", UID, "--to", "ris").stdout
    assert as_json(folder, "list", "--stuck") == {"steps": []}
    assert "to ris: dropped" in run(folder, "show", UID).stdout
    with pytest.raises(ConfigurationError, match="nobody has"):
        run(folder, "drop", UID, "--to", "ris")
    assert steps.prune(age_ms=-1000) == 1


def test_what_is_not_there_is_said(folder: Path, tmp_path: Path) -> None:
    assert "no performed procedure step yet" in run(folder, "list").stdout
    for words in (["show", "9.9"], ["retry", "9.9"]):
        with pytest.raises(InstanceNotFound, match="mpps list"):
            run(folder, *words)
    with pytest.raises(ConfigurationError, match="is no UID"):
        run(folder, "show", "1.2.x")
    with pytest.raises(ConfigurationError, match="nothing has run here"):
        run(tmp_path / "elsewhere", "list")
