"""Our archive beside dcmqrscp and Orthanc, at a small scale."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.benchmark import asked, check_question


@pytest.mark.slow
@pytest.mark.dcmtk
def test_the_question_is_answered(tmp_path: Path) -> None:
    """Every row has a figure, every bar a verdict, and in a quick run none is missed."""
    check_question("retrieve", tmp_path)


def test_without_peers_ours_is_measured(tmp_path: Path) -> None:
    """`--only-ours` puts no bar."""
    code, words, (section,) = asked("retrieve", tmp_path, "--only-ours")
    assert code == 0, words
    assert [row.name for row in section.rows] == ["dicomrelay, C-MOVE", "dicomrelay, C-GET"]
    assert section.bars == ()
