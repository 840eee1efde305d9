"""The scorecard's page is what its figures make of it."""

from __future__ import annotations

from chaos import figures, report
from chaos.figures import Figure, Row
from chaos.oracle import Account


def test_the_page_is_written_from_the_figures() -> None:
    """Run `python -m chaos.report` after a change of its words."""
    assert report.PAGE.read_text("utf-8") == report.page(figures.read(report.FIGURES))


def test_what_was_missed_and_what_was_skipped_is_on_the_page() -> None:
    """Not only what is well."""
    text = report.page(
        {
            "R3": Row(
                "R3", "a worker", 4, "kills", 1, Account(acknowledged=9), (Figure("resumed", 79.0, "s", 35),)
            ),
            "R11": Row("R11", "power", 0, "cuts", 1, skipped="there is no loop device"),
        }
    )

    assert "2 faults: 1 missed, 1 skipped" in text
    assert "| R3 | a worker | 4 kills | 9 | 0 | 0 | 0 | 0 | 0 | 0.75 | MISSED |" in text
    assert "| R3 | resumed | 79 s | ≤ 35 **missed** |" in text
    assert "- R11, power: there is no loop device" in text


def test_without_figures_the_page_says_so() -> None:
    """Before the first run."""
    assert "Not run yet" in report.page({})
