"""Every question of the benchmarks is asked at a small scale: a broken path fails here, a busy machine does not.

Those that take longest have files of their own, test_benchmark_*.py.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import FAILED, FIRST_MISS, QUESTIONS
from benchmarks.contest import Pair, contest
from benchmarks.data_sets import LOADS
from benchmarks.peers import RunFailed
from benchmarks.receivers import RECEIVERS, Receiver
from benchmarks.senders import SENDERS, ours_with
from tests.support.benchmark import asked, check_question

# They take longest: each has a file, so that two workers share them.
ELSEWHERE = {
    "engine",
    "durable",
    "associations",
    "together",
    "pipeline",
    "slow-destination",
    "retrieve",
    "archive",
    "frames",
    "first-frame",
    "streams",
}
# A whole home, 100,000 rows or gigabytes for one figure.
DEAR = {"huge", "backlog", "nagle", "import"}


@pytest.mark.slow
@pytest.mark.dcmtk
@pytest.mark.parametrize(
    "question",
    [
        pytest.param(each, marks=pytest.mark.long if each in DEAR else ())
        for each in QUESTIONS
        if each not in ELSEWHERE
    ],
)
def test_a_question_is_answered(question: str, tmp_path: Path) -> None:
    """Every row has a figure, every bar of the issue a verdict, and in a quick run none is missed."""
    check_question(question, tmp_path)


def test_a_bar_that_is_missed_is_the_exit_code(tmp_path: Path) -> None:
    """A bar that nothing can hold: the code of its question, and its words."""
    code, words, _ = asked("headers", tmp_path, "--headers", "10", "--ease", "1e9")

    assert code == FIRST_MISS + list(QUESTIONS).index("headers")
    assert "missed" in words


def test_a_receiver_that_loses_an_instance_has_no_figure(tmp_path: Path) -> None:
    """Verified, not believed: a receiver that keeps nothing is no fast receiver."""

    def forgets(folder: Path, port: int) -> list[str]:
        return [sys.executable, "-m", "benchmarks.our_receiver", str(port), str(folder), "count"]

    pair = Pair(SENDERS["ours"], Receiver("forgetful", forgets, "*"))
    with pytest.raises(RunFailed, match="0 instances with 0 bytes arrived, 6 with"):
        contest(LOADS["small"].scaled(0.002), [pair], 1, tmp_path)


def test_a_receiver_that_dies_is_told(tmp_path: Path) -> None:
    """Its last words are in the message."""
    broken = Receiver(
        "broken", lambda _folder, _port: [sys.executable, "-c", "raise SystemExit('no room')"], "*"
    )
    with pytest.raises(RunFailed, match="broken does not listen: no room"):
        contest(LOADS["small"].scaled(0.001), [Pair(SENDERS["ours"], broken)], 1, tmp_path)


def test_a_run_that_fails_says_so(tmp_path: Path) -> None:
    """No room for the huge instance: the run failed, which is another thing than a bar that was missed."""
    code, words, sections = asked("huge", tmp_path, "--huge-bytes", str(10**16))

    assert code == FAILED
    assert "failed: huge: 22000000 GB of disk wanted" in words
    assert sections == []


def test_a_window_is_named_as_it_was_negotiated(tmp_path: Path) -> None:
    """Our receiver grants what was asked for, and the row says what was granted."""
    (row,) = contest(LOADS["small"].scaled(0.002), [Pair(ours_with(4), RECEIVERS["ours"])], 1, tmp_path)
    assert row.name == "ours, window 4 → ours"
    assert row.note == "window negotiated: 4"
