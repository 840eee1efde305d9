"""The benchmark of the engine runs, counts what arrived, and prints ratios."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from benchmarks.data_sets import LOADS
from benchmarks.engine import DURABLE_PAIRS, REFERENCE, Figure, Pair, measure, table, under_the_bar


def test_every_pair_of_ours_is_measured_beside_the_minimal_one(tmp_path: Path) -> None:
    """One short round: a row for each pair with a ratio; the exit code says whether a bar was missed, nothing else."""
    options = ["--only-ours", "--rounds", "1", "--scale", "0.004", "--directory", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *options], capture_output=True, text=True, timeout=120
    )
    assert done.returncode in (0, 1), done.stderr
    rows = re.findall(r"^\| (\S+ → \S+) \|.* \| (\d+\.\d\d) \|$", done.stdout, re.MULTILINE)
    assert [name for name, _ in rows] == [
        "minimal → minimal",
        "ours → minimal",
        "minimal → ours",
        "ours → ours",
    ] * 3
    assert [ratio for name, ratio in rows if name == "minimal → minimal"] == ["1.00"] * 3
    assert list(tmp_path.iterdir()) == []


def test_a_receiver_that_flushes_can_be_measured(tmp_path: Path) -> None:
    """The place of the gateway: its figures stand beside a minimal receiver with fdatasync."""
    (figure,) = measure(LOADS["small"].scaled(0.002), DURABLE_PAIRS, 1, tmp_path)
    assert figure.median_s > 0
    assert "| minimal → minimal-sync |" in table(LOADS["small"], [figure])


def test_a_pair_under_its_bar_is_named() -> None:
    """Twice as slow as the reference is 0.5, and 0.6 was asked."""
    figures = [Figure(REFERENCE, (1.0, 1.0, 9.0)), Figure(Pair("ours", "minimal", bar=0.6), (2.0,))]
    assert under_the_bar(figures) == ["ours → minimal: 0.50, asked 0.6"]
