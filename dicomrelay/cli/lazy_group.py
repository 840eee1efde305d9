"""A command with commands below it, whose modules are imported when they run: `--help` is instant."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click

from dicomrelay.cli.importing import unwatched


class LazyGroup(click.Group):
    """Commands by name.

    Parameters
    ----------
    modules : mapping
        Name → module, which has a `command`, and one line of help.
    attributes
        As of any group.
    """

    def __init__(
        self, name: str | None = None, *, modules: Mapping[str, tuple[str, str]], **attributes: Any
    ) -> None:
        super().__init__(name, **attributes)
        self._modules = modules

    def list_commands(self, _context: click.Context) -> list[str]:
        return list(self._modules)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        if name not in self._modules:
            return None
        with unwatched():
            command: click.Command = importlib.import_module(self._modules[name][0]).command
        return command

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self._modules.items()])
