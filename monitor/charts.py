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
_LARGE: Final = (720.0, 200.0)
# Room of a large one for its words: on a narrow screen they are drawn twice as large, so those of the lines stand on them.
_ABOVE: Final = 26.0
_BELOW: Final = 30.0
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
    high = height - _BELOW
    top = _rounded(curve.peak)
    lines, labels = [], []
    for part in (0.5, 1.0) if top else ():
        y = high - part * (high - _ABOVE)
        lines.append(f'<line class="chart-grid" x1="0" y1="{y:.1f}" x2="{width:g}" y2="{y:.1f}"/>')
        labels.append(_words(0, y - 4, "start", curve.words(part * top)))
    for number in range(_TICKS + 1):
        at = curve.begin_ms + curve.step_ms * len(curve.values) * number // _TICKS
        anchor = {0: "start", _TICKS: "end"}.get(number, "middle")
        labels.append(_words(width * number / _TICKS, height - 6, anchor, clock(at)))
    area = _area(curve, width, high, top=top, above=_ABOVE)
    return _svg(curve, "chart-large", width, height, "".join(lines) + area + "".join(labels))


def _words(x: float, y: float, anchor: str, text: str) -> str:
    return f'<text class="chart-words" x="{x:g}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(curve: Curve, kind: str, width: float, height: float, inside: str) -> str:
    words = escape(curve.summary, quote=True)
    return (
        f'<svg class="chart {kind}" viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{words}" focusable="false">'
        f"<title>{words}</title>{inside}</svg>"
    )


def _area(curve: Curve, width: float, height: float, *, top: float = 0, above: float = 1) -> str:
    """Steps, filled down to the line of 0."""
    largest = top or curve.peak
    step = width / max(1, len(curve.values))
    line = [f"M0 {height:.1f}"]
    for number, value in enumerate(curve.values):
        y = height - (value / largest * (height - above) if largest else 0)
        line.append(f"V{y:.1f}H{(number + 1) * step:.1f}")
    line.append(f"V{height:.1f}Z")
    base = f'<line class="chart-base" x1="0" y1="{height:.1f}" x2="{width:g}" y2="{height:.1f}"/>'
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
