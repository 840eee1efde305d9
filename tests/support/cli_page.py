"""docs/reference/cli.md, written from the commands.

`python -m tests.support.cli_page` writes the page anew; a test fails while page and program differ.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator

import click

from dicomrelay.cli.main import cli
from tests.support.markdown import ROOT

PAGE = ROOT / "docs" / "reference" / "cli.md"

INTRODUCTION = """\
# Commands

<!-- Written by `python -m tests.support.cli_page` from dicomrelay/cli; a test compares the two. -->

Data goes to standard output, words to standard error; every command ends with one of these [exit codes](exit-codes.md).
An address is written `AET@host:port`. Settings come from options, environment and file as the
[settings page](settings.md) says. Every command takes these options too:

"""

COMMON = {"config", "home", "as_json", "verbose", "help"}


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command by name, in the order of `dicomrelay --help`."""
    return _below(cli, "")


def _below(group: click.Group, prefix: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None, name
        yield f"{prefix}{name}", command
        if isinstance(command, click.Group):
            yield from _below(command, f"{prefix}{name} ")


def render() -> str:
    """The whole page."""
    found = list(commands())
    shared = [parameter for parameter in found[0][1].params if parameter.name in COMMON]
    parts = [INTRODUCTION, _table(shared)]
    parts += [_section(name, command) for name, command in found]
    return "".join(parts)


def _section(name: str, command: click.Command) -> str:
    usage = " ".join(command.collect_usage_pieces(click.Context(command)))
    parts = [
        f"\n## `dicomrelay {name}`\n\n{_words(command.help)}\n",
        f"\n```text\ndicomrelay {name} {usage}\n```\n",
    ]
    own = [parameter for parameter in command.params if parameter.name not in COMMON]
    options = [parameter for parameter in own if isinstance(parameter, click.Option)]
    if options:
        parts.append(f"\n{_table(options)}")
    examples = _examples(command.epilog)
    if examples:
        lines = "\n".join(f"$ {line}" for line in examples)
        parts.append(f"\nExamples:\n\n```console\n{lines}\n```\n")
    return "".join(parts)


def _table(parameters: list[click.Parameter] | list[click.Option]) -> str:
    lines = ["| option | meaning |", "| --- | --- |"]
    for parameter in parameters:
        record = parameter.get_help_record(click.Context(cli))
        if record:
            spelling, meaning = record
            lines.append(
                f"| `{spelling.replace('|', '&#124;')}` | {_words(meaning).replace('|', '&#124;')} |"
            )
    return "\n".join(lines) + "\n"


def _words(text: str | None) -> str:
    return re.sub(r"\s+", " ", inspect.cleandoc(text or "").replace("\b", "")).strip()


def _examples(epilog: str | None) -> list[str]:
    lines = [line.strip() for line in (epilog or "").replace("\b", "").splitlines()]
    return [line for line in lines if line.startswith("dicomrelay ")]


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
    sys.stderr.write(f"written: {PAGE.name}\n")
