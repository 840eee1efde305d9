"""`dicomrelay rules check`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from dicomrelay.cli.operating.words import counted
from dicomrelay.cli.options import GivenPath, Invocation, relay_command
from dicomrelay.errors import ExitCode
from dicomrelay.routing.book import refuse_errors, rule_set_of, warnings_of
from dicomrelay.routing.rules import RuleSet
from dicomrelay.settings import Settings
from dicomrelay.settings.rules_file import Problem, RulesFileError, read_rules_text


@relay_command(
    about="What is wrong with the rules of FILE, or without one with those in force: keys that do not exist, destinations, "
    "profiles and pulls that nobody has set up, tests that cannot be asked. And what looks wrong: rules that are never asked, "
    "conditions that never hold, a destination that gets the original by one rule and edited copies by another. "
    "Exit code 2 when they could not be put in force.",
    examples="dicomrelay rules check\ndicomrelay rules check new.toml --json",
)
@click.argument("file", type=GivenPath(path_type=Path, dir_okay=False), required=False)
def command(invocation: Invocation, file: Path | None) -> int:
    settings = invocation.settings
    path = file or settings.rules_path
    errors: tuple[Problem, ...] = ()
    rules: RuleSet | None = None
    text = ""
    try:
        text, rules = _read(settings, path, invocation.config)
    except RulesFileError as error:
        errors = error.problems
    warnings = warnings_of(rules.settings, settings, text) if rules else []
    origin = str(path or invocation.config or "relay.toml")
    if invocation.as_json:
        invocation.emit(
            {
                "file": origin,
                "version": rules.version if rules else None,
                "rules": len(rules.rules) if rules else None,
                "errors": [dataclasses.asdict(each) for each in errors],
                "warnings": [dataclasses.asdict(each) for each in warnings],
            }
        )
    else:
        for problem in errors:
            click.echo(f"error    {problem.told(origin)}")
        for problem in warnings:
            click.echo(f"warning  {problem.told(origin)}")
        if rules:
            click.echo(
                f"{counted(len(rules.rules), 'rule')}, version {rules.version}: no error, "
                f"{counted(len(warnings), 'warning')}"
            )
    return ExitCode.USAGE if errors else ExitCode.OK


def _read(settings: Settings, path: Path | None, config: Path | None) -> tuple[str, RuleSet]:
    if path is not None:
        text = read_rules_text(path)
        return text, rule_set_of(settings, text, str(path))
    # Those of the settings passed when they were read; for their lines the file once more.
    found = [each for each in (config, settings.home / "relay.toml", Path("relay.toml")) if each is not None]
    file = next((each for each in found if each.is_file()), None)
    text = read_rules_text(file) if file else ""
    origin = str(file or "relay.toml")
    refuse_errors(settings.rules, settings, origin, text)
    return text, RuleSet(settings.rules, settings.destinations, origin=origin)
