"""The navigation of the documentation site, made of docs/README.md: what is listed there is in the site, in that order.

A hook of mkdocs (`hooks` in mkdocs.yml), and used by the tests: it imports nothing but the standard library.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_BULLET = re.compile(r"^- (?P<head>[^\[\n:]*):?(?P<rest>.*(?:\n  .*)*)", re.MULTILINE)
_LINK = re.compile(r"\[(?P<words>[^\]]*)\]\((?P<target>[^)#]+\.md)(?:#[^)]*)?\)")
_WHOLE_FOLDERS = {"Design": "design", "Decisions": "decisions"}


def sections(docs: Path) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """(heading, pages) of each bullet of the index, and of the folders that it names by their first page only."""
    text = (docs / "README.md").read_text("utf-8")
    for match in _BULLET.finditer(text):
        pages = [{_title(found["words"]): found["target"]} for found in _LINK.finditer(match[0])]
        head = match["head"].strip() or next(iter(pages[0]))
        folder = next(
            (name for word, name in _WHOLE_FOLDERS.items() if word in (head, next(iter(pages[0])))), None
        )
        if folder is not None:
            listed = {next(iter(page.values())) for page in pages}
            more = sorted(
                path for path in (docs / folder).glob("*.md") if f"{folder}/{path.name}" not in listed
            )
            pages += [{_heading(path): f"{folder}/{path.name}"} for path in more]
        yield head, pages


def on_config(config: Any, **_: object) -> Any:
    """Called by mkdocs."""
    config["nav"] = [
        {"Home": "README.md"},
        *({head: pages} for head, pages in sections(Path(config["docs_dir"]))),
    ]
    return config


def _title(words: str) -> str:
    return words[:1].upper() + words[1:]


def _heading(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        return next(line[2:].strip() for line in file if line.startswith("# "))
