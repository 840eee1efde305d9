"""The program on the page that checks a report without us does check it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dicomrelay.cli.reporting.json_file import JsonFile
from tests.support.evidence import report_of, two_studies
from tests.support.markdown import ROOT

PAGE = ROOT / "docs" / "howto" / "prove-where-an-image-went.md"


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("", "", ""),
        (
            '"state":"refused","status":49152',
            '"state":"delivered","status":0',
            "row 8 is not as it was written",
        ),
        ('"count":12', '"count":13', "the end is not as it was written"),
    ],
)
def test_the_program_of_the_page_finds_what_was_changed(
    tmp_path: Path, before: str, after: str, says: str
) -> None:
    """With nothing but the standard library."""
    program = tmp_path / "check.py"
    program.write_text(PAGE.read_text("utf-8").partition("```python\n")[2].partition("```")[0], "utf-8")
    text = report_of(two_studies(), JsonFile())
    assert before in text
    file = tmp_path / "report.json"
    file.write_text(text.replace(before, after, 1), "utf-8")
    done = subprocess.run(
        [sys.executable, "-I", str(program), str(file)], capture_output=True, text=True, check=False
    )
    assert (done.returncode == 0) == (not says), done.stderr
    assert says in done.stderr
