"""`python -m benchmarks`: the figures of docs/reference/performance.md, from this machine, now.

Exit code 1 when a pair of ours is under its bar.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from pathlib import Path

from benchmarks import engine
from benchmarks.data_sets import LOADS


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--loads", nargs="+", choices=LOADS, default=list(LOADS), help="default: all three")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count; default 5")
    parser.add_argument("--scale", type=float, default=1.0, help="part of the instances, 0 to 1; default 1")
    parser.add_argument("--only-ours", action="store_true", help="without DCMTK and pynetdicom")
    parser.add_argument("--durable", action="store_true", help="receivers that flush before they answer")
    parser.add_argument(
        "--directory", type=Path, help="where to write; default: the system's temporary folder"
    )
    options = parser.parse_args()

    pairs = engine.available(engine.DURABLE_PAIRS if options.durable else engine.PAIRS)
    if options.only_ours:
        pairs = [
            pair for pair in pairs if {pair.sender, pair.receiver} <= {"minimal", "minimal-sync", "ours"}
        ]
    print(
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}, {os.cpu_count()} processors"
    )
    print(f"load average at the start: {os.getloadavg()[0]:.2f}\n")
    slow: list[str] = []
    for load in engine.loads(options.loads, options.scale):
        figures = engine.measure(load, pairs, options.rounds, options.directory)
        print(engine.table(load, figures), end="\n\n", flush=True)
        if not options.durable:
            slow += [f"{load.name}: {words}" for words in engine.under_the_bar(figures)]
    for words in slow:
        print(f"under the bar: {words}")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
