"""Frames over HTTP beside nginx and Orthanc, and how soon they are there, at a small scale."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.peers import HTTP_PACKAGES, RunFailed, missing_packages
from benchmarks.wrk import rate_in
from tests.support.benchmark import asked, check_question


def need(*programs: str) -> None:
    """Skip without them, and fail in CI."""
    missing = missing_packages(programs)
    if missing:
        words = f"not installed: {', '.join(missing)}"
        pytest.fail(words) if os.environ.get("CI") else pytest.skip(words)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.dcmtk
@pytest.mark.parametrize("question", ["frames", "first-frame"])
def test_the_questions_are_answered(tmp_path: Path, question: str) -> None:
    """Every row has a figure, every bar a verdict, and in a quick run none is missed."""
    need(*HTTP_PACKAGES, "Orthanc")
    check_question(question, tmp_path)


def test_without_peers_ours_is_measured(tmp_path: Path) -> None:
    """Bare and multipart; no bar that needs a peer."""
    need("wrk")
    code, words, (section,) = asked("frames", tmp_path, "--only-ours", "--loads", "ct")
    assert code == 0, words
    ours = {"dicomrelay", "dicomrelay, multipart", "dicomrelay, two processes, multipart"}
    assert {row.name for row in section.rows} == ours
    assert section.bars == ()


SAID = (
    "  1 threads and 8 connections\n  {requests} requests in {time}, 8.39GB read\n{bad}Requests/sec:   1.00\n"
)


@pytest.mark.parametrize(
    ("requests", "time", "rate"),
    [(1000, "2.00s", 500), (3, "500.00ms", 6), (600, "1.00m", 10)],
)
def test_the_rate_is_taken_from_what_wrk_says(requests: int, time: str, rate: float) -> None:
    """In each of its units."""
    assert rate_in(SAID.format(requests=requests, time=time, bad=""), "") == pytest.approx(rate)


@pytest.mark.parametrize(
    ("requests", "bad", "words"),
    [
        (0, "", "no request was answered"),
        (5, "  Non-2xx or 3xx responses: 2\n", "Non-2xx"),
        (5, "  Socket errors: connect 0, read 3, write 0, timeout 0\n", "read 3"),
    ],
)
def test_answers_that_are_none_are_no_figure(requests: int, bad: str, words: str) -> None:
    """A server that refuses fast is not fast."""
    with pytest.raises(RunFailed, match=words):
        rate_in(SAID.format(requests=requests, time="2.00s", bad=bad), "")
