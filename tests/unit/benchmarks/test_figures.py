"""Rows, bars, verdicts, tables, page and picture, without anything running."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks import report
from benchmarks.__main__ import QUESTIONS, exit_code
from benchmarks.chart import draw
from benchmarks.figures import Bar, Measured, Place, Report, Row, Section, Verdict, ratio_bar
from benchmarks.tables import bars_table, section_table

SLOW = Row("storescu → storescp", (4.0, 2.0, 9.0), amount=8)
FAST = Row("ours → ours", (1.0, 1.0, 3.0), amount=8)
WINDOWED = Row("ours, window 8 → ours", (0.5,), amount=8, note="window negotiated: 8")
MACHINE = {"disk": "ext4", "system": "Linux"}


def section(*bars: Bar, question: str = "engine", place: Place = Place.DISK) -> Section:
    return Section(question, "Engine", "ct", place, (SLOW, FAST, WINDOWED), SLOW.name, bars)


def bar(at_least: float, *values: float) -> Bar:
    return Bar("a sentence", tuple(Measured("a row", value) for value in values), at_least=at_least)


def test_a_ratio_is_of_medians() -> None:
    """4 s and 1 s are the middle ones; a round that was disturbed changes nothing."""
    assert FAST.times_as_fast_as(SLOW) == 4.0
    assert SLOW.times_as_fast_as(FAST) == 0.25


def test_rows_of_different_amounts_are_compared_by_rate() -> None:
    """Twice the instances in the same time is twice as fast."""
    assert Row("more", (4.0,), amount=16).times_as_fast_as(SLOW) == 2.0


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ((2.0,), Verdict.HELD),
        ((1.99,), Verdict.MISSED),
        ((2.5, 1.0), Verdict.HELD),
        ((1.5, 2.5), Verdict.HELD_WITH_WINDOW),
        ((1.5, 1.9), Verdict.MISSED),
    ],
)
def test_a_bar_is_put_to_the_row_without_a_window_first(values: tuple[float, ...], verdict: Verdict) -> None:
    """That only the row with a window holds it is said."""
    assert bar(2.0, *values).verdict is verdict


def test_a_bar_can_be_the_most() -> None:
    """Memory is held when it is under."""
    memory = Bar("memory", (Measured("gateway", 299.0),), at_most=300, unit="MiB")
    assert memory.verdict is Verdict.HELD
    assert Bar("memory", (Measured("gateway", 301.0),), at_most=300).verdict is Verdict.MISSED


def test_a_bar_without_its_peer_is_not_put() -> None:
    """A run without peers misses nothing for it, and claims nothing."""
    assert ratio_bar([FAST], "beside DCMTK", [FAST.name], SLOW.name, 2.5) == ()
    (put,) = ratio_bar([FAST, SLOW, WINDOWED], "beside DCMTK", [FAST.name, WINDOWED.name], SLOW.name, 2.5)
    assert [each.value for each in put.measured] == [4.0, 8.0]


def test_the_exit_code_is_the_first_question_that_missed() -> None:
    """Whatever order they ran in."""
    missed, held = bar(2.0, 1.0), bar(2.0, 2.0)
    sections = [section(missed, question="huge"), section(held), section(missed, question="nagle")]
    assert exit_code(Report(MACHINE, {}, sections)) == 10 + list(QUESTIONS).index("nagle")
    assert exit_code(Report(MACHINE, {}, [section(held, bar(2.0, 1.0, 3.0))])) == 0


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    """Rows, bars and notes; medians and verdicts stand in the file for whoever reads it without us."""
    written = Report(MACHINE, {"rounds": 3, "scale": 1.0}, [section(bar(2.0, 1.0, 3.0))])
    written.write(tmp_path / "figures.json")
    assert Report.read(tmp_path / "figures.json") == written
    text = (tmp_path / "figures.json").read_text("utf-8")
    assert '"median": 4.0' in text
    assert '"verdict": "held with a window only"' in text


def test_a_table_has_medians_spread_rate_and_ratio() -> None:
    """And says which window was negotiated."""
    words = section_table(section())
    assert "| ours → ours | 1.000 | 1.000–3.000 | 8 | 4.00 |" in words
    assert "* ours, window 8 → ours: window negotiated: 8." in words


def test_the_table_of_bars_names_what_was_asked_and_measured() -> None:
    """One line a bar."""
    words = bars_table([section(bar(2.5, 4.0, 8.0), place=Place.MEMORY)])
    line = "| engine | ct, in memory | a sentence | at least 2.5 × | 4.00 ×; 8.00 × for a row | held |"
    assert line in words.splitlines()


def test_the_picture_has_a_bar_for_each_row() -> None:
    """As long as its rate; readable in dark too; well-formed."""
    picture = ET.fromstring(draw([section(), section(place=Place.MEMORY)]))
    bars = [each for each in picture.iter("{http://www.w3.org/2000/svg}rect") if "rx" in each.attrib]
    widths = [float(each.attrib["width"]) for each in bars]
    assert widths[2] == pytest.approx(2 * widths[1])
    assert widths[2] == pytest.approx(8 * widths[0], rel=0.01)
    assert [each.attrib["class"] for each in bars] == ["peer", "ours", "ours"]
    assert "prefers-color-scheme: dark" in draw([section()])


def test_the_page_has_a_place_for_every_question() -> None:
    """A question that has no place there would be measured and not shown."""
    text = Path(report.__file__).with_name("performance.md").read_text("utf-8")
    assert re.findall(r"^<!-- ([\w-]+) -->$", text, re.MULTILINE) == ["summary", "machine", *QUESTIONS]


def test_the_page_says_what_is_not_measured() -> None:
    """No figures, no claims; figures of a part are called so."""
    assert "Not measured yet" in report.page(None)
    words = report.page(Report(MACHINE, {"rounds": 5, "scale": 0.05}, [section(bar(2.0, 3.0))]))
    assert "1 bars: 1 held, 0 held with a window only, 0 missed" in words
    assert "no figures to quote" in words
    assert words.count("Not measured yet") == len(QUESTIONS) - 1


def test_page_and_picture_are_what_the_figures_make(tmp_path: Path) -> None:
    """`python -m benchmarks.report` was run after the figures came, and nobody typed one."""
    figures = report.REFERENCE / report.FIGURES
    if figures.exists():
        (tmp_path / report.FIGURES).write_bytes(figures.read_bytes())
    report.write(tmp_path)
    for path in tmp_path.iterdir():
        assert (report.REFERENCE / path.name).read_text("utf-8") == path.read_text("utf-8"), path.name
