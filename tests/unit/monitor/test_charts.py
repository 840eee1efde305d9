"""Charts as text: what is drawn, and what who does not see it is told."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from monitor.charts import Curve, large, small
from monitor.words import per_second

_NOON = 1_795_262_400_000  # 2026-11-21 12:00 UTC
_SVG = "{http://www.w3.org/2000/svg}"


def curve(*values: float, what: str = "Sent to pacs") -> Curve:
    return Curve(what, values, _NOON, 60_000, per_second)


def _heights(svg: str) -> list[float]:
    """Where the steps of the area are, from above."""
    path = re.search(r'class="chart-area" d="([^"]*)"', svg)
    assert path is not None
    return [float(each) for each in re.findall(r"V([0-9.]+)", path[1])][:-1]


@pytest.mark.parametrize("draw", [small, large])
def test_a_chart_is_well_formed_and_says_what_it_shows(draw: object) -> None:
    """The words of the label are those of the title; a name that holds markup stays a name."""
    svg = draw(curve(0, 2e6, 1e6, what='Sent to <b>"x" & co</b>'))  # type: ignore[operator]
    root = ET.fromstring(svg)
    assert root.get("role") == "img"
    label = root.get("aria-label")
    assert label == 'Sent to <b>"x" & co</b>, 12:00 to 12:03: 1.0 MB/s on average, 2.0 MB/s at 12:01 at most'
    assert root.findtext("title") == label


def test_the_height_of_a_step_is_its_value() -> None:
    """The largest reaches the top; of a small one the largest is the top."""
    heights = _heights(small(curve(0, 10, 5)))
    assert heights == [35.0, 1.0, 18.0]


def test_the_top_of_a_large_one_is_a_round_number() -> None:
    """With half of it between."""
    svg = large(curve(0, 37e6, 1e6))
    assert "50.0 MB/s" in svg
    assert "25.0 MB/s" in svg
    assert all(26 <= height <= 170 for height in _heights(svg))


def test_nothing_moved_is_a_line_and_no_division_by_it() -> None:
    """In words too."""
    for svg in (small(curve(0, 0)), large(curve(0, 0)), small(curve())):
        assert "nothing moved" in svg
        assert "nan" not in svg
    assert set(_heights(small(curve(0, 0)))) == {35.0}
