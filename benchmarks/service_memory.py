"""What each service of a relay holds in memory: what the limits of containers and hosts are made of.

Usage: python -m benchmarks.service_memory [--write]

A whole `dicomrelay up` takes some hundreds of instances from our sender, forwards them to a receiver that counts, archives them
and finds their frames; then Linux says what each service and its children hold, pages that several share counted once (Pss).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.data_sets import LOADS, write
from benchmarks.folders import emptied
from benchmarks.machine import describe
from benchmarks.peers import RunFailed
from benchmarks.processes import resident_mib
from benchmarks.receivers import Receiver, module, running
from benchmarks.relays import RunningRelay, destination, ours, relaying
from benchmarks.senders import ours_with

WRITTEN = Path(__file__).parents[1] / "docs" / "reference" / "service-memory.json"
_SHARE = 0.3
_WITHIN_S = 300.0
_COUNTS = "counts.txt"


def measured(folder: Path) -> dict[str, Any]:
    """Instances that went through, and MiB by service.

    Raises
    ------
    RunFailed
        Not everything was delivered, archived and indexed in time.
    """
    load, source = LOADS["small"].scaled(_SHARE), folder / "source"
    write(load, source)
    counting = Receiver(
        "counting", lambda place, port: [*module("benchmarks.our_receiver")(place, port), "count"], _COUNTS
    )
    tables = partial(destination, "sink", more="associations = 4")
    with (
        emptied(folder) as received,
        emptied(folder) as home,
        running(counting, received) as sink,
        relaying(ours("dicomrelay", tables), home, sink.port) as relay,
    ):
        ours_with(8).send(relay.port, load, source, 0.0)
        _await(load.instances, received / _COUNTS, relay, home)
        return {"instances": load.instances, "memory_mib": _memory(home)}


def _memory(home: Path) -> dict[str, float]:
    up = int((home / "run" / "up.lock").read_text("ascii").strip())  # whoever holds the lock
    found: defaultdict[str, float] = defaultdict(float)
    for child in Path(f"/proc/{up}/task/{up}/children").read_text("ascii").split():
        found[_service(int(child))] += resident_mib(int(child))
    return {name: round(each, 1) for name, each in sorted(found.items())}


def _service(pid: int) -> str:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    if "dicomrelay" not in words:
        return "broker"
    name = words[words.index("dicomrelay") + 1]
    return words[words.index("--name") + 1].split("-")[0] if name == "worker" else name


def _await(count: int, counts: Path, relay: RunningRelay, home: Path) -> None:
    deadline = time.monotonic() + _WITHIN_S
    while time.monotonic() < deadline:
        time.sleep(0.5)
        lines = counts.read_bytes().count(b"\n") if counts.exists() else 0
        if lines >= count and len(relay.archived()) >= count and _indexed(home) >= count:
            return
    raise RunFailed(f"not all of {count} instances were delivered, archived and indexed in {_WITHIN_S:g} s")


def _indexed(home: Path) -> int:
    command = [sys.executable, "-m", "dicomrelay", "status", "--json", "--home", str(home)]
    said = subprocess.run(command, capture_output=True, text=True).stdout
    return sum(each["frames"] for each in json.loads(said).get("studies", [])) if said.strip() else 0


def main() -> None:
    """Measure, and print or write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.service_memory", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"to {WRITTEN.name} of the reference")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dicomrelay-memory-") as name:
        found = measured(Path(name))
        machine = {key: value for key, value in describe(Path(name), None).items() if key in _SAID}
    if options.write:
        WRITTEN.write_text(json.dumps({"machine": machine, **found}, indent=1) + "\n", "utf-8")
    print(json.dumps(found))


_SAID = {"date", "commit", "system"}

if __name__ == "__main__":
    main()
