"""The figures as a picture: an SVG that is readable in light and in dark, and needs nothing but a browser."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from benchmarks.figures import Place, Row, Section
from benchmarks.tables import number

_WIDTH = 1120
_COLUMNS = 2
_GAP = 32
_PANEL_WIDTH = (_WIDTH - _GAP * (_COLUMNS + 1)) // _COLUMNS
_LABEL_WIDTH = 272
_VALUE_WIDTH = 56
_BAR_WIDTH = _PANEL_WIDTH - _LABEL_WIDTH - _VALUE_WIDTH
_LINE = 20
_BAR_HEIGHT = 12
_HEAD = 30
_LEGEND = 58

# Peers in a grey that keeps its distance from both grounds, ours in blue, the bare programs as an outline.
_STYLE = """
  svg { font: 12px system-ui, "Segoe UI", Helvetica, Arial, sans-serif }
  .ground { fill: #ffffff } .words { fill: #1f2328 } .quiet { fill: #59636e } .title { font-weight: 600; font-size: 13px }
  .ours { fill: #0969da } .peer { fill: #9aa4af } .bare { fill: #ffffff; stroke: #59636e }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #0d1117 } .words { fill: #f0f6fc } .quiet { fill: #9198a1 }
    .ours { fill: #4493f8 } .peer { fill: #6e7781 } .bare { fill: #0d1117; stroke: #9198a1 }
  }
"""
_KINDS = (
    ("ours", "ours at one end or both"),
    ("peer", "peers only"),
    ("bare", "with a minimal program, which checks nothing"),
)
_OURS = ("ours", "gateway")


def draw(sections: Sequence[Section]) -> str:
    """Instances (or associations) a second, a panel for each section on disk that has seconds; longer is faster."""
    shown = [
        section
        for section in sections
        if section.place is Place.DISK
        and section.rows
        and all(row.unit == "s" and row.amount for row in section.rows)
    ]
    panels, bottoms = [], [_LEGEND] * _COLUMNS
    for section in shown:
        column = bottoms.index(min(bottoms))
        panels.append(_panel(section, _GAP + column * (_PANEL_WIDTH + _GAP), bottoms[column]))
        bottoms[column] += _HEAD + _LINE * len(section.rows) + _GAP
    height = max(bottoms)
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">',
            "<title>What is done in a second, by sender and receiver; longer is faster</title>",
            f"<style>{_STYLE}</style>",
            f'<rect class="ground" width="{_WIDTH}" height="{height}"/>',
            *_legend(),
            *panels,
            "</svg>\n",
        )
    )


def _legend() -> list[str]:
    found = [_text(_GAP, 26, "words title", "Done in a second, files on disk; longer is faster")]
    x = _GAP
    for kind, words in _KINDS:
        found.append(f'<rect class="{kind}" x="{x}" y="38" width="12" height="{_BAR_HEIGHT}"/>')
        found.append(_text(x + 18, 48, "quiet", words))
        x += 36 + 7 * len(words)
    return found


def _panel(section: Section, x: int, y: int) -> str:
    parts = [_text(x, y + 18, "words title", f"{section.title}, {section.load}")]
    most = max(row.rate for row in section.rows)
    for index, row in enumerate(section.rows):
        top = y + _HEAD + index * _LINE
        width = max(1.0, _BAR_WIDTH * row.rate / most)
        kind, bar_x = _kind(row), x + _LABEL_WIDTH
        parts.append(_text(bar_x - 8, top + 10, "words", row.name, anchor="end"))
        parts.append(
            f'<rect class="{kind}" x="{bar_x}" y="{top}" width="{width:.1f}" height="{_BAR_HEIGHT}" rx="2"/>'
        )
        parts.append(_text(round(bar_x + width + 6), top + 10, "quiet", number(row.rate)))
    return "\n".join(parts)


def _kind(row: Row) -> str:
    sender, _, receiver = row.name.partition(" → ")
    if any(end.startswith(_OURS) for end in (sender, receiver)):
        return "ours"
    return "bare" if any(end.startswith("minimal") for end in (sender, receiver)) else "peer"


def _text(x: int, y: int, style: str, words: str, *, anchor: str = "start") -> str:
    return f'<text class="{style}" x="{x}" y="{y}" text-anchor="{anchor}">{escape(words)}</text>'
