"""Writes docs/reference/performance.md and its picture from the figures beside them.

    python -m benchmarks --json docs/reference/performance.json
    python -m benchmarks.report

The words are in benchmarks/performance.md; every figure is put in where that file has a comment with its name.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from benchmarks.chart import draw
from benchmarks.figures import Report, Section, Verdict
from benchmarks.tables import WHERE, bars_table, rows_table

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
FIGURES = "performance.json"
PAGE = "performance.md"
PICTURE = "performance.svg"

_WORDS = Path(__file__).with_name("performance.md")
_PLACE = re.compile(r"^<!-- ([\w-]+) -->$", re.MULTILINE)
_NOT_YET = "Not measured yet: a full run fills this in."


def page(report: Report | None) -> str:
    """The whole page; without figures it says so."""

    def filled(match: re.Match[str]) -> str:
        return _NOT_YET if report is None else _part(match[1], report)

    return _PLACE.sub(filled, _WORDS.read_text("utf-8"))


def write(folder: Path) -> None:
    """Page and picture from the figures in the same folder, if there are any."""
    figures = folder / FIGURES
    report = Report.read(figures) if figures.exists() else None
    (folder / PAGE).write_text(page(report), "utf-8")
    if report is not None:
        (folder / PICTURE).write_text(draw(report.sections), "utf-8")


def _part(name: str, report: Report) -> str:
    if name == "summary":
        return _summary(report)
    if name == "machine":
        return "\n".join(
            ["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in report.machine.items())]
        )
    sections = [section for section in report.sections if section.question == name]
    return "\n\n".join(map(_section, sections)) or _NOT_YET


def _summary(report: Report) -> str:
    verdicts = [bar.verdict for section in report.sections for bar in section.bars]
    counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in Verdict)
    rounds, scale = report.options["rounds"], report.options["scale"]
    part = "" if scale == 1 else f" of {scale:g} of the instances: no figures to quote"
    return "\n\n".join(
        (
            f"{len(verdicts)} bars: {counts}. Medians of {rounds} rounds{part}.",
            bars_table(report.sections),
            f"![What is done in a second, by sender and receiver, files on disk]({PICTURE})",
        )
    )


def _section(section: Section) -> str:
    return f"### {section.title}: {section.load}, {WHERE[section.place]}\n\n{rows_table(section)}"


def main(arguments: list[str] | None = None) -> int:
    """Write both."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("--directory", type=Path, default=REFERENCE, help="default: docs/reference")
    write(parser.parse_args(arguments).directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
