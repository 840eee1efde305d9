"""The last release, built as the wheel that people have: from the commit it was made of, with the packages of this one."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

from tests.support.markdown import ROOT

# The archive was resolved here; no version has a tag yet. A release puts its own here.
COMMIT = "2fc5c777890e057916a867eb7bcca7f1aad6fbe1"


def built(folder: Path) -> Path:
    """A folder with the release's packages, for PYTHONPATH; where the history is not there the test is skipped."""
    found = subprocess.run(["git", "archive", COMMIT], cwd=ROOT, capture_output=True, check=False)
    if found.returncode:
        pytest.skip(f"the history up to {COMMIT[:12]} is not in this clone")
    source = folder / "source"
    with tarfile.open(fileobj=BytesIO(found.stdout)) as archive:
        archive.extractall(source, filter="data")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder / "wheels"],
        cwd=source,
        check=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": ""},
    )
    (wheel,) = (folder / "wheels").glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(folder / "release")
    return folder / "release"
