"""What a stage costs, from the figures of `make bench`: docs/reference/performance.json and database-bytes.json."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.data_sets import LOADS
from benchmarks.simulator.site import Costs, Target

_REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
# The machine on which all of it was measured.
CORES = 2


@dataclass(frozen=True, slots=True)
class Figures:
    """Medians by question, load and row."""

    rows: dict[tuple[str, str, str], dict[str, Any]]
    database: dict[str, Any]

    @staticmethod
    def read(folder: Path = _REFERENCE) -> Figures:
        """As they are in the reference."""
        found = json.loads((folder / "performance.json").read_text("utf-8"))
        rows = {
            (section["question"], section["load"], row["name"]): row
            for section in reversed(found["sections"])
            if section["place"] == "disk"
            for row in section["rows"]
        }
        return Figures(rows, json.loads((folder / "database-bytes.json").read_text("utf-8")))

    def each_second(self, question: str, load: str, name: str) -> float:
        """A rate, whether the row says one or seconds for an amount."""
        row = self.rows[question, load, name]
        return float(row["amount"] / row["median"] if row["unit"] == "s" else row["median"])

    def median(self, question: str, load: str, name: str) -> float:
        """A median as it is."""
        return float(self.rows[question, load, name]["median"])


def costs(figures: Figures) -> Costs:
    """Seconds of a core for each stage under load: senders and receivers ran on the same two cores, and nothing is taken off for
    them.

    The whole way of an instance is what the two cores did for each that came out at the end of the pipeline. Of that the
    gateway's part, registration and archiving were measured by themselves, the last two with small instances only; all the
    rest is put down to forwarding.
    """
    backlog = "1,000 deep"
    register = 1 / figures.each_second(
        "backlog", "100,000 instances queued", f"instances registered and cut into transfers, {backlog}"
    )
    claim = 1 / figures.each_second(
        "backlog", "100,000 instances queued", "transfers claimed, 1,000 instances deep"
    )
    keep = CORES / figures.each_second("import", "20,000 files", "dicomrelay archive import")
    receive = {
        load: CORES / figures.each_second("together", load, "8 associations → gateway of 2 processes")
        for load in ("small", "ct")
    }
    whole = {
        load: CORES / figures.each_second("pipeline", load, "storescu → dicomrelay → storescp")
        for load in ("small", "ct")
    }
    rest = {load: whole[load] - receive[load] - register - keep for load in whole}
    return Costs(
        receive=_line(receive),
        intake=(register, 0.0),
        keep=(keep, 0.0),
        forward=_line(rest),
        ledger=register,
        claim=claim,
        postgresql=figures.database["postgresql_beside_sqlite"],
        between_s=_between_transfers(figures),
    )


def _between_transfers(figures: Figures) -> float:
    """What eight associations to a destination that is slow to answer lost to their transfers, which are small ones there."""
    associations, answer_s = 8, 0.02
    each_s = associations / figures.each_second("slow-destination", "small", f"{associations} associations")
    slow = Target("slow", 1.0, associations, answer_s)
    return (each_s - answer_s) * slow.transfer_instances


def pixel_bytes(load: str) -> int:
    """Bytes of an instance of a load, but for its header."""
    return LOADS[load].side ** 2 * 2 * LOADS[load].frames


def _line(by_load: dict[str, float]) -> tuple[float, float]:
    """Through both points: a constant, and for each byte."""
    small, large = pixel_bytes("small"), pixel_bytes("ct")
    each = (by_load["ct"] - by_load["small"]) / (large - small)
    return by_load["small"] - each * small, each
