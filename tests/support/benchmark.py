"""Quick runs of the benchmarks, a question at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import WITH_PEERS
from benchmarks.figures import Report, Section
from benchmarks.peers import missing_packages
from benchmarks.report import write

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
    "pipeline": [
        "storescu → dicomrelay → storescp",
        "storescu → dicomrelay → storescp, archived too",
        "storescu → Orthanc as installed → storescp",
        "storescu → Orthanc → storescp",
    ],
    "retrieve": [
        "dicomrelay, C-MOVE",
        "dicomrelay, C-GET",
        "dcmqrscp, C-MOVE",
        "dcmqrscp, C-GET",
        "Orthanc, C-MOVE",
        "Orthanc, C-GET",
    ],
    "first-frame": ["95 of 100 instances", "half of them", "the slowest"],
    "slow-destination": ["1 association", "2 associations", "4 associations", "8 associations"],
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
    "pipeline": 1,
    "slow-destination": 3,
    "backlog": 3,
    "archive": 3,
    "import": 1,
    "retrieve": 4,
    "frames": 5,
    "first-frame": 1,
    "streams": 3,
}
# Of those with a load for each table, the one that is quick.
_LOADS = {"together": ("--loads", "small"), "pipeline": ("--loads", "small")}


def _need_peers() -> None:
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


def check_question(question: str, folder: Path) -> None:
    """Every row has a figure, every bar of the issue a verdict, and in a quick run none is missed."""
    if question in WITH_PEERS:
        _need_peers()

    code, words, sections = asked(question, folder, *_LOADS.get(question, ()))

    assert code == 0, words
    assert all(row.values for section in sections for row in section.rows)
    assert sum(len(section.bars) for section in sections) == BARS[question]
    if question in ROWS:
        assert [row.name for row in sections[0].rows] == ROWS[question]
    write(folder)
    assert f"{BARS[question]} bars: {BARS[question]} held" in (folder / "performance.md").read_text("utf-8")
