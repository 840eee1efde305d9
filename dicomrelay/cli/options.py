"""What every command takes, and what it is given."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import click

from dicomrelay import log
from dicomrelay.cli.audited import Audited, lifetime, recorded
from dicomrelay.settings import Settings, load

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Invocation:
    """One call of a command."""

    settings: Settings
    config: Path | None
    as_json: bool
    verbose: bool

    def say(self, line: str) -> None:
        """A line for people, on standard error."""
        click.echo(line, err=True)

    def emit(self, data: Mapping[str, Any] | list[Any]) -> None:
        """The result for machines, on standard output."""
        click.echo(json.dumps(data, indent=2, default=str))


class GivenPath(click.Path):
    """A path that somebody gave: `""`, such as of a variable that is not set, is not the current folder."""

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> str | bytes | os.PathLike[str]:
        """As `click.Path`. Raises click.BadParameter when it is empty."""
        if not str(value).strip():
            self.fail("is empty: name a file or a folder (`.` is the current one)", param, ctx)
        return super().convert(value, param, ctx)


def relay_command(
    *,
    about: str,
    examples: str,
    overrides: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None,
    service: bool = False,
    private: bool = True,
    audited: Audited | None = None,
) -> Callable[[Callable[Concatenate[Invocation, P], R]], click.Command]:
    """Make a command with `--config`, `--home`, `--json` and `--verbose` beside its own options.

    Parameters
    ----------
    about : str
        What it does, for `--help`.
    examples : str
        Lines that can be pasted.
    overrides : callable, optional
        Turns the command's own options into settings that win over file and environment.
    service : bool
        It runs until it is stopped, and what it says is its log.
    private : bool
        What it and its children write is the home's, and for our user only; False for a command whose files are for
        the one who called it: those have the mode that he has set.
    audited : Audited, optional
        How it is recorded; None for what only looks, or runs by itself.
    """

    def decorate(function: Callable[Concatenate[Invocation, P], R]) -> click.Command:
        @functools.wraps(function)
        def call(
            config: Path | None,
            home: Path | None,
            as_json: bool,
            verbose: bool,
            *args: P.args,
            **kwargs: P.kwargs,
        ) -> R:
            if private:
                os.umask(0o077)
            log.configure(verbose=verbose, quiet=not service)
            settings = load(config=config, home=home, overrides=overrides(kwargs) if overrides else None)
            invocation = Invocation(settings, config, as_json, verbose)
            if service:
                with lifetime(settings):
                    return function(invocation, *args, **kwargs)
            if audited is None:
                return function(invocation, *args, **kwargs)
            return recorded(audited, settings, kwargs, lambda: function(invocation, *args, **kwargs))

        wrapped = click.option("-v", "--verbose", is_flag=True, help="Say more.")(call)
        wrapped = click.option(
            "--json", "as_json", is_flag=True, help="The result as JSON on standard output."
        )(wrapped)
        wrapped = click.option(
            "--home",
            type=click.Path(path_type=Path, file_okay=False),
            help="Folder of spool, archive, database and logs.  [env: DICOMRELAY_HOME; default: ./var]",
        )(wrapped)
        wrapped = click.option(
            "--config",
            type=click.Path(path_type=Path, dir_okay=False),
            help="Settings file.  [env: DICOMRELAY_CONFIG; default: relay.toml in the home, then here]",
        )(wrapped)
        epilog = "\b\nExamples:\n" + "\n".join(f"  {line}" for line in examples.strip().splitlines())
        return click.command(help=about, epilog=epilog)(wrapped)

    return decorate


def peer_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`DESTINATION`, `--calling-ae` and `--timeout`, of the commands that ask a peer."""
    function = click.option(
        "--timeout",
        "timeout_s",
        type=click.FloatRange(0.1, 86_400),
        help="Seconds to wait for a response.  [default: response_timeout_s of the destination, or 60]",
    )(function)
    function = click.option(
        "-c", "--calling-ae", help="What we call ourselves.  [default: gateway.ae_title]"
    )(function)
    return click.argument("destination")(function)
