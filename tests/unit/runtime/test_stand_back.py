"""A process that stands back for others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_PROGRAM = """
import os, subprocess, sys
from pathlib import Path
from dicomrelay.runtime.process import stand_back
before = os.nice(0)
stand_back(int(sys.argv[1]))
weight = Path("/proc/self/autogroup")
child = subprocess.run([sys.executable, "-c", "import os; print(os.nice(0))"], capture_output=True, text=True)
print(os.nice(0) - before, int(child.stdout) - before, weight.read_text().split()[-1] if weight.exists() else "-")
"""


@pytest.mark.parametrize("niceness", [0, 7])
def test_it_and_what_it_starts_stand_back(niceness: int) -> None:
    """The session too, where the kernel weighs sessions."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(niceness)],
        capture_output=True, text=True, check=True, start_new_session=True,
    )  # fmt: skip
    own, child, session = done.stdout.split()
    assert (int(own), int(child)) == (niceness, niceness)
    enabled = Path("/proc/sys/kernel/sched_autogroup_enabled")
    if enabled.exists() and enabled.read_text().strip() == "1":
        assert session == str(niceness)
