"""Writes docs/reference/reliability.md from the rows of a scorecard.

python -m chaos.scorecard --write
python -m chaos.report
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from chaos import figures
from chaos.figures import Row, Verdict

REFERENCE: Final = Path(__file__).parents[1] / "docs" / "reference"
FIGURES: Final = REFERENCE / "reliability.json"
PAGE: Final = REFERENCE / "reliability.md"
_WORDS: Final = Path(__file__).with_name("reliability.md")
_PLACE: Final = re.compile(r"^<!-- (\w+) -->$", re.MULTILINE)


def page(rows: Mapping[str, Row]) -> str:
    """The page; without rows it says so."""
    ordered = [rows[name] for name in sorted(rows, key=figures.order)]
    parts = {
        "summary": _summary(ordered),
        "table": _table(ordered),
        "figures": _figures(ordered),
        "skipped": _skipped(ordered),
    }
    return _PLACE.sub(lambda match: parts[match[1]], _WORDS.read_text("utf-8"))


def write(folder: Path = REFERENCE) -> None:
    """The page from the figures in the same folder."""
    (folder / PAGE.name).write_text(page(figures.read(folder / FIGURES.name)), "utf-8")


def _summary(rows: list[Row]) -> str:
    if not rows:
        return "Not run yet: `make chaos` fills this in."
    done = [row for row in rows if not row.skipped]
    verdicts = [row.verdict for row in rows]
    counts = ", ".join(f"{verdicts.count(each)} {each.lower()}" for each in Verdict if each in verdicts)
    accounts = [row.account for row in done if row.account is not None]
    return (
        f"{len(rows)} faults: {counts}. {sum(row.trials for row in done):,} trials, "
        f"{sum(each.acknowledged for each in accounts):,} instances acknowledged, "
        f"**{sum(each.lost for each in accounts)} lost**, {sum(each.corrupt for each in accounts)} corrupt, "
        f"{sum(each.undelivered for each in accounts)} neither delivered nor listed."
    )


def _table(rows: list[Row]) -> str:
    lines = [
        "| fault | done | trials | acknowledged | lost | undelivered | corrupt | phantom | twice | 3/N | bars |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if row.skipped:
            continue
        account = row.account
        counts = (
            ["–"] * 6
            if account is None
            else [
                f"{each:,}"
                for each in (
                    account.acknowledged,
                    account.lost,
                    account.undelivered,
                    account.corrupt,
                    account.phantom,
                    account.duplicates,
                )
            ]
        )
        bound = "–" if row.bound is None else f"{row.bound:.2g}"
        lines.append(
            f"| {row.fault} | {row.title} | {row.trials} {row.unit} | {' | '.join(counts)} | {bound} | {row.verdict} |"
        )
    return "\n".join(lines)


def _figures(rows: list[Row]) -> str:
    lines = ["| fault | measured | is | bar |", "|---|---|---|---|"]
    for row in rows:
        for each in row.figures:
            bar = ""
            if each.bar is not None:
                bar = f"{'≥' if each.at_least else '≤'} {each.bar:.4g}{'' if each.is_met else ' **missed**'}"
            lines.append(f"| {row.fault} | {each.name} | {each.value:.4g} {each.unit} | {bar} |")
        told = "; ".join(text for text in (row.control and f"control: {row.control}", row.note) if text)
        where = f"{row.date}, {row.revision}, seed {row.seed}, {row.seconds:.0f} s"
        if not row.skipped:
            lines.append(f"| {row.fault} | {told or 'run'} | {where} | |")
    return "\n".join(lines)


def _skipped(rows: list[Row]) -> str:
    lines = [f"- {row.fault}, {row.title}: {row.skipped}" for row in rows if row.skipped]
    return "\n".join(lines) or "Nothing."


if __name__ == "__main__":
    write()
    sys.exit(0)
