"""What the pages say can be followed: links, settings, commands and targets exist."""

from __future__ import annotations

import os
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomrelay import settings
from dicomrelay.cli.main import cli
from dicomrelay.runtime.home import FOLDERS
from tests.support.markdown import ROOT, Block, anchors, blocks, links, pages, prose

PAGES = pages()
RELAY_TOML = [
    block
    for page in [ROOT / "README.md", *sorted((ROOT / "docs" / "howto").glob("*.md"))]
    for block in blocks(page)
    if block.language == "toml"
]
INLINE_CODE = re.compile(r"`([^`\n]+)`")


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def console_lines(page: Path) -> Iterator[str]:
    """Commands of the console blocks, without prompt, and of the blocks for a shell."""
    for block in blocks(page):
        if block.language == "console":
            yield from (line[2:] for line in block.text.splitlines() if line.startswith("$ "))
        if block.language == "sh":
            yield from block.text.splitlines()


def command_lines(page: Path, program: str) -> Iterator[list[str]]:
    """Words after the program, wherever a page has it in a console block or in inline code."""
    spans = [match[1] for match in INLINE_CODE.finditer(prose(page))]
    for line in [*console_lines(page), *spans]:
        if line.startswith(f"{program} "):
            words = shlex.split(line, comments=True)[1:]
            ends = [words.index(each) for each in (">", "<", "|", "&&") if each in words]
            yield words[: min(ends)] if ends else words


def relative_links(page: Path) -> Iterator[tuple[Path, str]]:
    for target in links(page):
        if not re.match(r"[a-z]+:", target):
            path, _, anchor = target.partition("#")
            yield (page.parent / path).resolve() if path else page, anchor


def test_the_pages_are_found() -> None:
    """The checks below look at something: pages, blocks of settings, commands and links."""
    assert {"README.md", "CONTRIBUTING.md", "docs/howto/first-study.md", "docs/design/house.md"} <= {
        *map(name, PAGES)
    }
    assert len(RELAY_TOML) >= 4
    assert ["up"] in list(command_lines(ROOT / "README.md", "dicomrelay"))
    assert list(relative_links(ROOT / "README.md"))
    assert ["passwd", "anna"] in [
        words[1:] for words in command_lines(ROOT / "docs" / "howto" / "users-and-roles.md", "dicomrelay")
    ]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    """The file exists, and has the heading that the link names."""
    broken = [
        f"{target.name}#{anchor}"
        for target, anchor in relative_links(page)
        if not target.exists() or (anchor and anchor not in anchors(target))
    ]

    assert not broken


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_link_leaves_the_project_by_a_path(page: Path) -> None:
    """Links to files stay inside what a clone holds."""
    assert all(target.is_relative_to(ROOT) for target, _ in relative_links(page))


@pytest.mark.parametrize("block", RELAY_TOML, ids=str)
def test_every_relay_toml_of_the_pages_is_valid(
    block: Block, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whoever pastes it gets settings, and gets all that it says."""
    for variable in [variable for variable in os.environ if variable.upper().startswith("DICOMRELAY_")]:
        monkeypatch.delenv(variable)
    (tmp_path / "relay.toml").write_text(block.text)

    loaded = settings.load(home=tmp_path).model_dump()

    written = tomllib.loads(block.text)
    assert len(loaded["destinations"]) == len(written.get("destinations", []))
    assert len(loaded["rules"]) == len(written.get("rules", []))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_of_the_pages_exists_with_its_options(page: Path) -> None:
    """`dicomrelay X …` is understood as it stands there; nothing is run."""
    for command, *arguments in command_lines(page, "dicomrelay"):
        if command.startswith("-"):
            continue
        found = cli.get_command(None, command)  # type: ignore[arg-type]

        assert found is not None, f"{name(page)}: there is no `dicomrelay {command}`"
        if arguments:
            found.make_context(command, list(arguments))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_make_target_of_the_pages_exists(page: Path) -> None:
    """`make X` is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = {words[0] for words in command_lines(page, "make") if words and "=" not in words[0]}

    assert named <= targets


def test_the_readme_names_every_listener_as_the_settings_have_it() -> None:
    """Addresses and ports of the table are the defaults."""
    page = (ROOT / "README.md").read_text("utf-8")
    defaults = settings.Settings.model_fields

    for section in ("gateway", "streamer", "monitor"):
        default = defaults[section].default
        assert f"{default.host}:{default.port}" in page


def test_the_readme_names_every_folder_of_the_home() -> None:
    """The table of what is kept where has each of them."""
    page = (ROOT / "README.md").read_text("utf-8")

    assert all(f"| `{folder}/` |" in page for folder in FOLDERS)


def test_commands_of_the_program_are_told_somewhere() -> None:
    """Each command has its section on the page of commands."""
    page = (ROOT / "docs" / "reference" / "cli.md").read_text("utf-8")

    assert all(f"## `dicomrelay {command}`" in page for command in cli.list_commands(None))  # type: ignore[arg-type]
