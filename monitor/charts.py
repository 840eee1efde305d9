"""Charts as SVG: what moved in each step of time. Plain functions; colours and lines are the style sheet's.

A chart is a picture with words for who does not see it, and the same figures stand in a table of the page.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from monitor.words import clock

_SMALL: Final = (180.0, 36.0)
_LARGE: Final = (720.0, 180.0)
# Room of a large one for its words.
_LEFT: Final = 76.0
_BELOW: Final = 20.0
_TICKS: Final = 4


@dataclass(frozen=True, slots=True)
class Curve:
    """Values of equal steps of time, the oldest first.

    Attributes
    ----------
    what : str
        Such as "MB/s to pacs".
    words : callable
        A value in words.
    """

    what: str
    values: Sequence[float]
    begin_ms: int
    step_ms: int
    words: Callable[[float], str]

    @property
    def peak(self) -> float:
        """The largest value."""
        return max(self.values, default=0.0)

    @property
    def summary(self) -> str:
        """What is to be seen, in a sentence."""
        begin, end = clock(self.begin_ms), clock(self.begin_ms + self.step_ms * len(self.values))
        if not self.peak:
            return f"{self.what}, {begin} to {end}: nothing moved"
        at = self.begin_ms + self.step_ms * list(self.values).index(self.peak)
        mean = sum(self.values) / len(self.values)
        return f"{self.what}, {begin} to {end}: {self.words(mean)} on average, {self.words(self.peak)} at {clock(at)} at most"


def small(curve: Curve) -> str:
    """For a cell of a table: the shape, without axes."""
    width, height = _SMALL
    return _svg(curve, "chart-small", width, height, _area(curve, width, height - 1))


def large(curve: Curve) -> str:
    """With its largest value, its half and the times below."""
    width, height = _LARGE
    wide, high = width - _LEFT, height - _BELOW
    top = _rounded(curve.peak)
    marks = []
    for part in (0.0, 0.5, 1.0) if top else (0.0,):
        y = high - part * (high - 10)
        label = curve.words(part * top) if part else "0"
        marks.append(
            f'<line class="chart-grid" x1="{_LEFT:g}" y1="{y:.1f}" x2="{width:g}" y2="{y:.1f}"/>'
            f'<text class="chart-words" x="{_LEFT - 6:g}" y="{y + 4:.1f}" text-anchor="end">{escape(label)}</text>'
        )
    for number in range(_TICKS + 1):
        x = _LEFT + wide * number / _TICKS
        at = curve.begin_ms + curve.step_ms * len(curve.values) * number // _TICKS
        anchor = "end" if number == _TICKS else "middle"
        marks.append(
            f'<text class="chart-words" x="{x:.1f}" y="{height - 4:g}" text-anchor="{anchor}">{clock(at)}</text>'
        )
    area = _area(curve, wide, high, left=_LEFT, top=top, above=10)
    return _svg(curve, "chart-large", width, height, "".join(marks) + area)


def _svg(curve: Curve, kind: str, width: float, height: float, inside: str) -> str:
    words = escape(curve.summary, quote=True)
    return (
        f'<svg class="chart {kind}" viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{words}" focusable="false">'
        f"<title>{words}</title>{inside}</svg>"
    )


def _area(
    curve: Curve, width: float, height: float, *, left: float = 0, top: float = 0, above: float = 1
) -> str:
    """Steps, filled down to the line of 0."""
    largest = top or curve.peak
    step = width / max(1, len(curve.values))
    line = [f"M{left:.1f} {height:.1f}"]
    for number, value in enumerate(curve.values):
        y = height - (value / largest * (height - above) if largest else 0)
        line.append(f"V{y:.1f}H{left + (number + 1) * step:.1f}")
    line.append(f"V{height:.1f}Z")
    base = (
        f'<line class="chart-base" x1="{left:g}" y1="{height:.1f}" x2="{left + width:g}" y2="{height:.1f}"/>'
    )
    return f'<path class="chart-area" d="{"".join(line)}"/>{base}'


def _rounded(peak: float) -> float:
    """The next round number from there: 1, 2 or 5 times a power of ten."""
    if not peak:
        return 0.0
    unit = 1e-9
    while True:
        for factor in (1, 2, 5):
            if peak <= factor * unit:
                return factor * unit
        unit *= 10
