"""Many associations, at a small scale."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.benchmark import check_question


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.dcmtk
def test_the_question_is_answered(tmp_path: Path) -> None:
    """Every row has a figure, every bar a verdict, and in a quick run none is missed."""
    check_question("associations", tmp_path)
