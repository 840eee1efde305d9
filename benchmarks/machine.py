"""Where a run took place, in words that name no folder of the machine."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.folders import microseconds_to_make_a_file
from benchmarks.peers import find

_SHARED_MEMORY = Path("/dev/shm")


def memory_directory(disk: Path) -> Path | None:
    """A folder in memory, unless there is none or `disk` is one already."""
    if not _SHARED_MEMORY.is_dir() or file_system(disk) == "tmpfs":
        return None
    return _SHARED_MEMORY


def describe(disk: Path, memory: Path | None) -> dict[str, str]:
    """System, processors, file systems, versions of the peers, and how busy it was."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _said(["git", "describe", "--always", "--dirty"]),
        "system": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}, Python {platform.python_version()}",
        "processors": f"{os.cpu_count()} of {_processor()}",
        "disk": file_system(disk),
        "memory": "not measured" if memory is None else file_system(memory),
        "peers": ", ".join(_peers()),
        "to make a file on that disk": f"{microseconds_to_make_a_file(disk):.0f} µs",
        "load average at the start": f"{os.getloadavg()[0]:.2f}",
    }


def file_system(path: Path) -> str:
    """The type of the file system that holds a path, such as ext4."""
    place = path.resolve()
    while not place.exists():
        place = place.parent
    best = ("", "unknown")
    try:
        mounts = Path("/proc/mounts").read_text("utf-8").splitlines()
    except OSError:
        return "unknown"
    for line in mounts:
        _, point, kind, *_ = line.split()
        if place.is_relative_to(point) and len(point) >= len(best[0]):
            best = (point, kind)
    return best[1]


def _kernel() -> str:
    """Name and the first two numbers: what comes behind them names whoever built it."""
    return f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _peers() -> list[str]:
    found = []
    if find("storescu"):
        found.append(f"DCMTK {_said(['storescu', '--version']).split(' v')[-1].split(' ')[0]}")
    orthanc = find("Orthanc")
    if orthanc:
        found.append(f"Orthanc {_said([orthanc, '--version']).split(' ')[-1]}")
    return [*found, f"pynetdicom {version('pynetdicom')}"]


def _said(command: Sequence[str]) -> str:
    """The first line that a command prints; "unknown" when it cannot be run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return (done.stdout.splitlines() or ["unknown"])[0].strip()
