"""Every question of the benchmarks is asked at a small scale: a broken path fails here, a busy machine does not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import FAILED, FIRST_MISS, QUESTIONS, WITH_PEERS
from benchmarks.contest import Pair, contest
from benchmarks.data_sets import LOADS
from benchmarks.figures import Report, Section
from benchmarks.peers import RunFailed, missing_packages
from benchmarks.receivers import RECEIVERS, Receiver
from benchmarks.report import write
from benchmarks.senders import SENDERS, ours_with

# Rows of a question on its first load: what is compared with what is the point of it.
ROWS = {
    "durable": [
        "minimal → minimal-sync",
        "ours → gateway",
        "ours, window 8 → gateway",
        "storescu → gateway",
        "storescu → minimal-sync",
        "storescu → Orthanc",
        "storescu → pynetdicom",
    ],
    "nagle": [
        "storescu as installed → gateway",
        "storescu as installed → ours",
        "storescu as installed → storescp as installed",
    ],
    "together": [
        "1 association → gateway",
        "8 associations → gateway",
        "1 association → gateway of 2 processes",
        "8 associations → gateway of 2 processes",
    ],
}
BARS = {
    "engine": 9,
    "durable": 4,
    "nagle": 2,
    "associations": 4,
    "together": 2,
    "memory": 2,
    "huge": 4,
    "headers": 1,
}


def peers() -> None:
    """Skip without them, and fail in CI."""
    missing = missing_packages()
    if missing:
        words = f"not installed: {', '.join(missing)}"
        pytest.fail(words) if os.environ.get("CI") else pytest.skip(words)


def asked(question: str, folder: Path, *more: str) -> tuple[int, str, list[Section]]:
    """A quick run of one question: exit code, what it said, and its sections."""
    place, figures = folder / "place", folder / "performance.json"
    command = [
        sys.executable,
        "-m",
        "benchmarks",
        question,
        "--quick",
        "--directory",
        place,
        "--json",
        figures,
    ]
    done = subprocess.run([*command, *more], capture_output=True, text=True, timeout=170)
    assert list(place.iterdir()) == []
    return done.returncode, done.stdout + done.stderr, Report.read(figures).sections


@pytest.mark.slow
@pytest.mark.dcmtk
@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_is_answered(question: str, tmp_path: Path) -> None:
    """Every row has a figure, every bar of the issue a verdict, and in a quick run none is missed."""
    if question in WITH_PEERS:
        peers()

    code, words, sections = asked(
        question, tmp_path, *(["--loads", "small"] if question == "together" else [])
    )

    assert code == 0, words
    assert all(row.values for section in sections for row in section.rows)
    assert sum(len(section.bars) for section in sections) == BARS[question]
    if question in ROWS:
        assert [row.name for row in sections[0].rows] == ROWS[question]
    write(tmp_path)
    assert f"{BARS[question]} bars: {BARS[question]} held" in (tmp_path / "performance.md").read_text("utf-8")


def test_without_peers_nothing_of_theirs_is_measured_or_asked(tmp_path: Path) -> None:
    """`--only-ours` runs on a machine that has neither DCMTK nor Orthanc: only the bar beside the minimal pair is left."""
    code, words, sections = asked("engine", tmp_path, "--only-ours", "--loads", "small")

    assert code == 0, words
    assert [row.name for row in sections[0].rows] == [
        "minimal → minimal",
        "ours → minimal",
        "minimal → ours",
        "ours → ours",
        "ours, window 8 → ours",
    ]
    assert [bar.asked for bar in sections[0].bars] == ["our sender and receiver beside the minimal pair"]


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
