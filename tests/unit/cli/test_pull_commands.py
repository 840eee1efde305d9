"""`dicomrelay pull`, on a real ledger: what is ordered, how it is told, what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dicomrelay.cli.checks.finding import Verdict
from dicomrelay.cli.checks.pulls import check_pulls_of
from dicomrelay.cli.main import cli
from dicomrelay.errors import ConfigurationError, ExitCode
from dicomrelay.ledger.values_pulls import (
    ClaimedStep,
    Fetched,
    Listed,
    Missing,
    NewPull,
    Proof,
    PullKind,
    PullPolicy,
    PullState,
    Retrieval,
)
from dicomrelay.routing.pulls import source_of
from tests.support.rooms import rooms_at
from workers.pull import pull
from workers.pull_sweep import PullSweeper
from workers.rooms import Rooms

_TOML = """
[[destinations]]
name = "old"
ae_title = "OLD"
host = "127.0.0.1"
port = 104
[[pulls]]
name = "night"
source = "old"
every_s = 3600
limit = 9
[[pulls]]
name = "heads"
source = "old"
keys = ["StudyDescription=HEAD"]
[[pulls]]
name = "broken"
source = "X@h:99999"
every_s = 60
"""
_MARK = "ZZTOP4711"


@pytest.fixture
def rooms(tmp_path: Path) -> Iterator[Rooms]:
    with rooms_at(tmp_path / "home", _TOML) as (made, _):
        yield made


def run(rooms: Rooms, *words: str) -> Result:
    return CliRunner().invoke(
        cli,
        ["pull", *words, "--home", str(rooms.settings.home)],
        standalone_mode=False,
        catch_exceptions=False,
    )


def read(rooms: Rooms, *words: str) -> Any:
    return json.loads(run(rooms, *words, "--json").stdout)


def claim(rooms: Rooms) -> ClaimedStep:
    (due, *_) = rooms.ledger.pulls.due(limit=9)
    claimed = rooms.ledger.pulls.claim(due.id, owner="runner", lease_ms=60_000)
    assert claimed is not None
    return claimed


def start(rooms: Rooms, *words: str) -> tuple[str, ClaimedStep]:
    """Order a pull by the command, and claim its question."""
    said = run(rooms, "start", *words, "--no-wait")
    assert said.return_value == ExitCode.OK
    return said.stdout.strip(), claim(rooms)


def partial(rooms: Rooms) -> str:
    """A pull of two studies, of which one has three instances too few."""
    pull_id, asked = start(rooms, "old", "--patient-id", _MARK)
    listed = [Listed("1.2.1", announced=2), Listed("1.2.2", announced=5)]
    rooms.ledger.pulls.answered(asked.id, asked.fence, listed, truncated=False)
    one = claim(rooms)
    rooms.ledger.pulls.finish(one.id, one.fence, Fetched(2, 2, proof=Proof.UIDS), retry_in_ms=None, rounds=0)
    two = claim(rooms)
    lost = tuple(Missing("1.2.2.1", f"1.2.3.{number}") for number in range(3))
    rooms.ledger.pulls.finish(
        two.id,
        two.fence,
        Fetched(5, 2, lost),
        retry_in_ms=None,
        rounds=5,
        reason="it could not send 3 instances",
    )
    return pull_id


def test_options_become_the_question(rooms: Rooms) -> None:
    """Shorthands, keys, a list of UIDs; a date range at level STUDY, a modality as one of the study's."""
    _, asked = start(
        rooms, "old", "--patient-id", _MARK, "--modality", "CT", "--study", "1.2", "--study", "1.3", "-k", "StudyID=7",
        "--get", "--limit", "5", "--associations", "3", "--priority", "urgent",
    )  # fmt: skip
    assert set(asked.question) == {
        f"PatientID={_MARK}",
        "ModalitiesInStudy=CT",
        "StudyInstanceUID=1.2\\1.3",
        "StudyID=7",
    }
    policy = asked.policy
    assert (policy.retrieval, policy.limit, policy.associations, policy.level) == (
        Retrieval.GET,
        5,
        3,
        "STUDY",
    )
    assert rooms.ledger.pulls.newest(limit=1)[0].priority == "urgent"


def test_a_series_is_asked_for_at_its_level(rooms: Rooms) -> None:
    """With the study that it is in."""
    _, asked = start(rooms, "old", "--study", "1.2", "--series", "1.2.1")
    assert asked.policy.level == "SERIES"
    with pytest.raises(ConfigurationError, match="--study"):
        run(rooms, "start", "old", "--series", "1.2.1")


def test_a_poll_is_asked_for_now_and_only_once(rooms: Rooms) -> None:
    """With the question that it would have by itself."""
    _, asked = start(rooms, "night")
    assert [key.partition("=")[0] for key in asked.question] == ["StudyDate"]
    assert asked.policy.limit == 9
    assert rooms.ledger.pulls.newest(limit=1)[0].kind is PullKind.POLL
    with pytest.raises(ConfigurationError, match="still open"):
        run(rooms, "start", "night", "--no-wait")


def test_an_entry_that_cannot_be_asked_keeps_no_other(rooms: Rooms) -> None:
    """The sweeper makes the polls of the others; doctor names it."""
    assert PullSweeper(rooms).look() == 1
    assert [each.name for each in rooms.ledger.pulls.newest(limit=9)] == ["night"]
    with pytest.raises(ConfigurationError, match=r"pulls\.broken\.source: .* no address"):
        run(rooms, "start", "broken")
    found = {each.verdict: each.words for each in check_pulls_of(rooms.settings)}
    assert "pulls.broken.source" in found[Verdict.FAILED]


def test_a_question_that_nobody_can_answer_is_given_up_and_says_nothing_of_the_source(rooms: Rooms) -> None:
    """However it was ordered: no attempt is made, and the breaker of the destination stays as it is."""
    new = NewPull(PullKind.ASKED, source_of(rooms.settings, "old"), ("StudyDate=2026-01-01",), PullPolicy())
    pull_id = rooms.ledger.pulls.order(new)
    assert pull_id is not None
    (due,) = rooms.ledger.pulls.due(limit=9)
    assert pull(rooms, due.id) == "old"
    row = rooms.ledger.pulls.one(pull_id)
    assert row is not None
    assert (row.state, row.next_due_in_ms) == (PullState.FAILED, None)
    assert "a date is YYYYMMDD" in row.reason
    assert rooms.ledger.operations.stopped() == ()


def test_an_entry_is_asked_for_with_more_keys(rooms: Rooms) -> None:
    """Beside its own."""
    _, asked = start(rooms, "heads", "--patient-id", _MARK)
    assert asked.question == ("StudyDescription=HEAD", f"PatientID={_MARK}")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("old",), "all there is"),
        (("old", "--study-date", "2026-01-01"), "a date is YYYYMMDD"),
        (("old", "--study", "abc"), "'abc' is no UID"),
        (("nobody", "--study", "1.2"), "no destination 'nobody'"),
        (("old", "--instance", "1.2"), "studies or series"),
        (("old", "--patient-id", "1", "--model", "patient"), "model study"),
        (("old", "-k", "Nothing=1"), "no keyword"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_before_anything_is_ordered(
    rooms: Rooms, words: tuple[str, ...], why: str
) -> None:
    """With what is wrong."""
    with pytest.raises(ConfigurationError, match=why):
        run(rooms, "start", *words)
    assert not rooms.ledger.pulls.newest(limit=1)


def test_a_partial_pull_tells_what_is_missing_and_what_to_do(rooms: Rooms) -> None:
    """Exit code 1, in words and as JSON; the patient is named nowhere."""
    pull_id = partial(rooms)
    shown = run(rooms, "show", pull_id[:30])
    assert shown.return_value == ExitCode.SOME_FAILED
    for words in (
        f"{pull_id}  asked for, from old, ",
        " s ago: partial\n",
        "asked for by PatientID",
        "1 of 2 studies done, 1 given up",
        "4 of 7 instances here, 3 missing",
        "done       1.2.1  2 of 2 here, by uids",
        "it could not send 3 instances",
        "missing: 1.2.2 1.2.2.1 1.2.3.0",
        f"`dicomrelay pull retry {pull_id}`",
    ):
        assert words in shown.stdout
    whole = read(rooms, "show", pull_id, "--missing", "2")
    assert (whole["state"], whole["missing"], whole["exit_code"]) == ("partial", 3, 1)
    assert [each["sop_instance_uid"] for each in whole["missing_shown"]] == ["1.2.3.0", "1.2.3.1"]
    assert whole["steps"] == {"done": 1, "given_up": 1}
    assert "1 more are missing" in run(rooms, "show", pull_id, "--missing", "2").stdout
    for said in (shown.stdout, json.dumps(whole), run(rooms, "list").stdout):
        assert _MARK not in said


def test_status_tells_of_what_was_left_and_of_what_is_under_way(rooms: Rooms) -> None:
    """Exit code 1 until it is retried or cancelled; a pull that is open is no trouble."""
    command = ["status", "--home", str(rooms.settings.home)]
    pull_id = partial(rooms)
    said = CliRunner().invoke(cli, command, standalone_mode=False, catch_exceptions=False)
    assert said.return_value == ExitCode.SOME_FAILED
    assert "1 need attention:\n    1 pull from other nodes left something" in said.stdout
    run(rooms, "retry", pull_id)
    said = CliRunner().invoke(cli, [*command, "--json"], standalone_mode=False, catch_exceptions=False)
    assert (said.return_value, json.loads(said.stdout)["pulls"]) == (ExitCode.OK, {"fetching": 1})


def test_the_list_is_by_state(rooms: Rooms) -> None:
    """Exit code 0 whatever it is."""
    assert "no pull yet" in run(rooms, "list").stdout
    pull_id = partial(rooms)
    assert run(rooms, "list", "--state", "partial").stdout.startswith(pull_id)
    assert "no pull is complete" in run(rooms, "list", "--state", "complete").stdout
    assert [row["id"] for row in read(rooms, "list")["pulls"]] == [pull_id]


def test_retry_and_cancel_say_what_they_did(rooms: Rooms) -> None:
    """What was given up is tried again; what is over stays so."""
    pull_id = partial(rooms)
    assert "1 step tried again now" in run(rooms, "retry", pull_id).stdout
    assert read(rooms, "retry", pull_id)["tried_again"] == 0
    cancelled = run(rooms, "cancel", pull_id)
    assert (cancelled.return_value, "4 instances of it are here" in cancelled.stdout) == (ExitCode.OK, True)
    assert rooms.ledger.pulls.newest(limit=1)[0].state is PullState.CANCELLED
    _, asked = start(rooms, "old", "--study", "1.9")
    rooms.ledger.pulls.answered(asked.id, asked.fence, [], truncated=False)
    complete = rooms.ledger.pulls.newest(limit=1)[0].id
    assert "nothing matches" in run(rooms, "show", complete).stdout
    assert run(rooms, "cancel", complete).return_value == ExitCode.SOME_FAILED


def test_a_pull_is_known_by_the_beginning_of_its_id(rooms: Rooms) -> None:
    """If there is only one."""
    ids = [partial(rooms) for _ in range(2)]
    with pytest.raises(ConfigurationError, match="beginning of 2"):
        run(rooms, "show", ids[0][:3])
    for text in ("zz", "", "%"):
        with pytest.raises(ConfigurationError, match="there is no pull"):
            run(rooms, "show", text)
