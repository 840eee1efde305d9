"""Figures as Markdown."""

from __future__ import annotations

from benchmarks.figures import Bar, Place, Row, Section

WHERE = {Place.DISK: "on disk", Place.MEMORY: "in memory"}


def section_table(section: Section) -> str:
    """A section for the terminal: its head, its rows, and what is to be said of them."""
    return f"{section.load}, {WHERE[section.place]}: {section.title}\n\n{rows_table(section)}"


def rows_table(section: Section) -> str:
    """The rows of a section, and what is to be said of them."""
    all_seconds = all(row.unit == "s" for row in section.rows)
    lines = _of_seconds(section) if all_seconds else _of_values(section)
    notes = [*(f"{row.name}: {row.note}." for row in section.rows if row.note), *section.notes]
    return "\n".join([*lines, "", "\n".join(f"* {note}" for note in notes)] if notes else lines)


def bars_table(sections: list[Section]) -> str:
    """Every bar of a run with its verdict."""
    lines = ["| question | load | what is asked | asked | measured | verdict |", "|---|---|---|---|---|---|"]
    for section in sections:
        for bar in section.bars:
            where = f"{section.load}, {WHERE[section.place]}"
            lines.append(
                f"| {section.question} | {where} | {bar.asked} | {_limit(bar)} | {_measured(bar)} | {bar.verdict} |"
            )
    return "\n".join(lines)


def bar_line(bar: Bar) -> str:
    """One bar in a line."""
    return f"{bar.asked}: {_measured(bar)}, asked {_limit(bar)}: {bar.verdict}"


def number(value: float) -> str:
    """As many digits as say something."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _of_seconds(section: Section) -> list[str]:
    reference = section.row(section.reference)
    things = section.rows[0].thing if section.rows else "instances"
    head = f"| sender → receiver | median s | spread s | {things}/s |"
    rule = "|---|---|---|---|"
    if reference is not None:
        head, rule = f"{head} of {reference.name} |", f"{rule}---|"
    lines = [head, rule]
    for row in section.rows:
        cells = [row.name, f"{row.median:.3f}", _spread(row, 3), f"{row.rate:,.0f}"]
        if reference is not None:
            cells.append(f"{row.times_as_fast_as(reference):.2f}")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _of_values(section: Section) -> list[str]:
    lines = ["| what | median | spread |", "|---|---|---|"]
    lines += [f"| {row.name} | {number(row.median)} {row.unit} | {_spread(row, 1)} |" for row in section.rows]
    return lines


def _spread(row: Row, digits: int) -> str:
    return f"{min(row.values):,.{digits}f}–{max(row.values):,.{digits}f}"


def _limit(bar: Bar) -> str:
    return f"{'at least' if bar.at_least is not None else 'at most'} {bar.limit:g} {bar.unit}"


def _measured(bar: Bar) -> str:
    first, *others = bar.measured
    words = [f"{number(first.value)} {bar.unit}"]
    words += [f"{number(each.value)} {bar.unit} for {each.row}" for each in others]
    return "; ".join(words)
