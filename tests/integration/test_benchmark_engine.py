"""Our engine beside DCMTK, pynetdicom and the minimal pair, at a small scale."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.benchmark import asked, check_question


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.dcmtk
def test_the_question_is_answered(tmp_path: Path) -> None:
    """Every row has a figure, every bar a verdict, and in a quick run none is missed."""
    check_question("engine", tmp_path)


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
