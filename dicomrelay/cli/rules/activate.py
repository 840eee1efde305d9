"""`dicomrelay rules activate`."""

from __future__ import annotations

from pathlib import Path

import click

from dicomrelay.cli.audited import Audited
from dicomrelay.cli.ledgers import has_run, opened_ledger
from dicomrelay.cli.options import GivenPath, Invocation, relay_command
from dicomrelay.cli.rules.putting import previous_of, put_in_place
from dicomrelay.cli.rules.replaying import replay
from dicomrelay.cli.rules.telling import replay_json, replay_lines
from dicomrelay.errors import ConfigurationError, ExitCode
from dicomrelay.routing.book import rule_set, rule_set_of
from dicomrelay.routing.replay import Replay
from dicomrelay.routing.rules import RuleSet
from dicomrelay.settings import Settings
from dicomrelay.settings.rules_file import RulesFileError, read_rules_text


@relay_command(
    about="Put the rules of FILE in force: they are checked, asked about everything that was decided in the last days "
    "(rule_changes.days), and written to the file that `rules_file` names, which running services read again by themselves. "
    "The file before is kept beside it as <name>.previous. Refused, with exit code 1, when more than rule_changes.max_percent "
    "of the decisions would be others or are not known, unless --force is given.",
    examples="dicomrelay rules activate new.toml\ndicomrelay rules activate new.toml --force\n"
    "dicomrelay rules activate rules.toml.previous",
    audited=Audited("rules.activate"),
)
@click.argument("file", type=GivenPath(path_type=Path, dir_okay=False))
@click.option("--force", is_flag=True, help="However many decisions would be others.")
def command(invocation: Invocation, file: Path, force: bool) -> int:
    settings = invocation.settings
    target = settings.rules_path
    if target is None:
        raise ConfigurationError(
            'rules_file is not set: rules in relay.toml are read at a start only. Say rules_file = "rules.toml" there, move '
            "[[rules]] to that file in the home, and start again"
        )
    # Read once: what is checked is what is put in force.
    text = read_rules_text(file)
    fresh = rule_set_of(settings, text, str(file))
    found = Replay()
    if has_run(settings):
        with opened_ledger(settings) as ledger:
            found = replay(ledger, settings, fresh, age_s=86_400 * settings.rule_changes.days)
            refused = found.percent > settings.rule_changes.max_percent and not force
            if not refused:
                ledger.rulings.know_version(fresh.version, fresh.body, str(target))
                put_in_place(target, text)
                ledger.rulings.activated(
                    version=fresh.version,
                    previous=_version(settings, previous_of(target)),
                    changed=found.changed + found.unknown,
                    of=found.decisions,
                    forced=force,
                )
    else:
        refused = False
        put_in_place(target, text)
    _tell(invocation, found, fresh, target, refused=refused)
    return ExitCode.SOME_FAILED if refused else ExitCode.OK


def _version(settings: Settings, path: Path) -> str:
    """Of the rules before; "" where there were none, or none that passed."""
    try:
        return rule_set(settings, path).version if path.is_file() else ""
    except RulesFileError:
        return ""


def _tell(invocation: Invocation, found: Replay, fresh: RuleSet, target: Path, *, refused: bool) -> None:
    limit = invocation.settings.rule_changes.max_percent
    if invocation.as_json:
        invocation.emit({"activated": not refused, **replay_json(found, fresh.version)})
        return
    for line in replay_lines(found, 5):
        click.echo(line)
    if refused:
        click.echo(
            f"not in force: {found.percent:.1f} % is more than rule_changes.max_percent ({limit:g} %); "
            "`dicomrelay rules replay --with` lists the changes, --force puts them in force all the same"
        )
    else:
        click.echo(
            f"version {fresh.version} is in force within seconds: {target}; what was there is {previous_of(target).name}"
        )
