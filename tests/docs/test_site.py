"""The documentation site has every page, and its navigation is the index; `make docs` builds it, strictly."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.support.markdown import ROOT
from tests.support.site_nav import sections

DOCS = ROOT / "docs"


def test_every_page_is_in_the_navigation() -> None:
    """What is not in docs/README.md nobody finds."""
    listed = {target for _, pages in sections(DOCS) for page in pages for target in page.values()}
    there = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")} - {"README.md"}

    assert there - listed == set()
    assert listed - there == set()


def test_the_navigation_has_the_concerns_and_no_page_twice_in_one_section() -> None:
    """How-tos are found by what somebody is worried about."""
    found = dict(sections(DOCS))

    assert {"By concern", "How to set it up", "How to use it", "Reference", "Design"} <= set(found)
    concerns = {target for page in found["By concern"] for target in page.values()}
    assert {
        "howto/a-destination-is-down.md",
        "howto/migrate-an-old-archive.md",
        "howto/in-front-of-orthanc.md",
    } <= concerns
    for head, pages in found.items():
        most = Counter(target for page in pages for target in page.values()).most_common(1)
        assert most[0][1] == 1, (head, most)


@pytest.mark.long
def test_the_site_is_built_without_a_warning_and_fetches_nothing(tmp_path: Path) -> None:
    """Broken links and anchors, and pages that nothing leads to, are errors; no page wants a script or a font of others."""
    program = Path(sys.executable).with_name("mkdocs")
    found = str(program) if program.exists() else shutil.which("mkdocs")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("mkdocs is not installed")
        pytest.skip("mkdocs is not installed")

    done = subprocess.run(
        [found, "build", "--strict", "--site-dir", tmp_path / "site"],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "site" / "howto").glob("*.html"))) == len(list((DOCS / "howto").glob("*.md")))
    for page in (tmp_path / "site").rglob("*.html"):
        text = page.read_text("utf-8")
        assert '<script src="http' not in text, page
        assert '<link rel="stylesheet" href="http' not in text, page
