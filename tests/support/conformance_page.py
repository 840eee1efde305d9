"""docs/reference/conformance.md, written from registries and default settings.

`python -m tests.support.conformance_page` writes the page anew; a test fails while page and program differ.
"""

from __future__ import annotations

import sys

from dicomrelay.cli.conforming.statement import statement
from dicomrelay.settings import Settings
from tests.support.markdown import ROOT

PAGE = ROOT / "docs" / "reference" / "conformance.md"
_NOTE = "<!-- Written by `python -m tests.support.conformance_page` from dicomrelay/cli/conforming; a test compares the two. -->"


def render() -> str:
    """The whole page, of the defaults and of no variable of this machine."""
    head, _, rest = statement(
        Settings.model_construct(),
        subject="of the default settings; `dicomrelay conformance` makes one of your own",
    ).partition("\n\n")
    return f"{head}\n\n{_NOTE}\n\n{rest}"


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
    sys.stderr.write(f"written: {PAGE.name}\n")
