"""`python -m benchmarks.simulator`: simulate the sites, and write the reference page about sizing."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.simulator.measured import Figures
from benchmarks.simulator.report import figures_of, page

FOLDER = Path(__file__).parents[2] / "docs" / "reference"
PAGE, MADE, MEMORY = FOLDER / "sizing.md", FOLDER / "sizing.json", FOLDER / "service-memory.json"


def memory() -> dict[str, float]:
    """MiB by service, as `python -m benchmarks.service_memory` found; `instances` that had gone through."""
    found: dict[str, Any] = json.loads(MEMORY.read_text("utf-8"))
    return {"instances": found["instances"], **found["memory_mib"]}


def main() -> None:
    """Simulate; a minute."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulator", description=__doc__)
    parser.add_argument("--write", action="store_true", help="to docs/reference/sizing.md and sizing.json")
    options = parser.parse_args()
    figures = Figures.read()
    made = figures_of(figures)
    if options.write:
        MADE.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", "utf-8")
        PAGE.write_text(page(figures, made, memory()), "utf-8")
    else:
        print(page(figures, made, memory()))


if __name__ == "__main__":
    main()
