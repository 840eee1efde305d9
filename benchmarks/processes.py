"""What a process and its children hold in memory, and how long one has computed, as Linux counts it."""

from __future__ import annotations

import os
import re
from pathlib import Path


def peak_mib(pid: int) -> float:
    """The most that a process held at once (VmHWM), with the file pages that it had mapped."""
    return _status(pid, "VmHWM") / 1024


def resident_mib(pid: int) -> float:
    """What a process and its children hold now.

    Pages that they share are counted once (Pss), so that a forked listener is not counted for its parent's memory.
    """
    return sum(_proportional_kib(each) for each in _family(pid)) / 1024


def processor_s(pid: int) -> float:
    """Seconds of a processor that a process has used, in its own code and in the system for it."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
    return [pid, *(each for child in children for each in _family(int(child)))]


def _proportional_kib(pid: int) -> int:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii")
    found = re.search(r"^Pss: +(\d+) kB", rollup, re.MULTILINE)
    return int(found[1]) if found else 0


def _status(pid: int, field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text("ascii"), re.MULTILINE)
    return int(found[1]) if found else 0
