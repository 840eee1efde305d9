"""Flower's templates and ours in one loader: ours stand in its navigation, and its inline scripts carry a nonce."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from tornado.template import BaseLoader, Template

OURS: Final = Path(__file__).parent / "templates"
_NAVIGATION: Final = "navbar.html"
_FIRST_LIST: Final = re.compile(r'<ul class="app-nav navbar-nav">')
_INLINE_SCRIPT: Final = re.compile(r"<script(?![^>]*\bsrc=)")
_NONCE: Final = '<script nonce="{{ handler.script_nonce }}"'


class Loader(BaseLoader):
    """Looks among ours first, then among Flower's.

    Parameters
    ----------
    theirs : Path
        The folder of Flower's templates.
    """

    def __init__(self, theirs: Path) -> None:
        super().__init__()
        self._theirs = theirs

    def resolve_path(self, name: str, parent_path: str | None = None) -> str:  # noqa: ARG002 - tornado's
        """Names stand for themselves: all of one kind lie in one folder."""
        return name

    def _create_template(self, name: str) -> Template:
        own = OURS / name
        if own.is_file():
            return Template(own.read_bytes(), name=name, loader=self)
        source = (self._theirs / name).read_text("utf-8")
        if name == _NAVIGATION:
            source = with_our_pages(source)
        return Template(_INLINE_SCRIPT.sub(_NONCE, source), name=name, loader=self)


def with_our_pages(navigation: str) -> str:
    """Flower's navigation with our pages before its own.

    Raises
    ------
    ValueError
        It has another form than the Flower that we know.
    """
    found, number = _FIRST_LIST.subn(
        lambda match: f'{match.group()}{{% include "relay-navigation.html" %}}', navigation, count=1
    )
    if not number:
        raise ValueError("Flower's navigation has changed: its list of pages is not found")
    return found
