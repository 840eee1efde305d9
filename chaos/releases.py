"""A release of dicomrelay, built as the wheel that people have, to be run in place of this version."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Final

# The archive was resolved here; no version has a tag yet. A release puts its own here.
LAST: Final = "2fc5c777890e057916a867eb7bcca7f1aad6fbe1"
_ROOT: Final = Path(__file__).parents[1]


def missing(commit: str = LAST) -> str:
    """Why it cannot be built here; "" when it can."""
    found = subprocess.run(
        ["git", "cat-file", "-e", f"{commit}^{{commit}}"], cwd=_ROOT, capture_output=True, check=False
    )
    return f"the history up to {commit[:12]} is not in this clone" if found.returncode else ""


def built(folder: Path, commit: str = LAST) -> Path:
    """A folder with the release's packages, of its wheel, with what is installed for this version; made in `folder`."""
    packed = subprocess.run(["git", "archive", commit], cwd=_ROOT, capture_output=True, check=True).stdout
    source = folder / "source"
    with tarfile.open(fileobj=BytesIO(packed)) as archive:
        archive.extractall(source, filter="data")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder / "wheels"],
        cwd=source,
        check=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": ""},
    )
    (wheel,) = (folder / "wheels").glob("*.whl")
    with zipfile.ZipFile(wheel) as content:
        content.extractall(folder / "release")
    return folder / "release"


@contextmanager
def in_place(release: Path | None) -> Iterator[None]:
    """Commands that are started in this block are of the release; of this version where it is None."""
    before, here = os.environ.get("PYTHONPATH"), Path.cwd()
    os.environ["PYTHONPATH"] = str(release or _ROOT)
    os.chdir("/")  # `python -m` looks in the current folder first
    try:
        yield
    finally:
        os.chdir(here)
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
