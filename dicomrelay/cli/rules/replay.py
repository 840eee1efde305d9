"""`dicomrelay rules replay`."""

from __future__ import annotations

from pathlib import Path

import click

from dicomrelay.cli.ledgers import opened_ledger
from dicomrelay.cli.options import GivenPath, Invocation, relay_command
from dicomrelay.cli.rules.replaying import age, replay
from dicomrelay.cli.rules.telling import replay_json, replay_lines
from dicomrelay.errors import ExitCode
from dicomrelay.routing.book import rule_set


@relay_command(
    about="What the rules of a file would have decided about everything that was decided since: with the facts and the local "
    "time of then, instance by instance. It counts what would be otherwise, and sends nothing. What they ask of the data set "
    "beyond what was stored is read from the bytes, where those are in this home. Exit code 1 when anything would be "
    "otherwise or is not known.",
    examples="dicomrelay rules replay --since 7d --with new.toml\ndicomrelay rules replay --since 12h --json",
)
@click.option(
    "--with",
    "file",
    type=GivenPath(path_type=Path, dir_okay=False),
    help="A file of rules.  [default: those in force]",
)
@click.option("--since", callback=age, default="7d", show_default=True, help="How far back: 7d, 12h, 30min.")
@click.option(
    "--limit", type=click.IntRange(0, 1000), default=20, show_default=True, help="Changes to show at most."
)
def command(invocation: Invocation, file: Path | None, since: float, limit: int) -> int:
    settings = invocation.settings
    rules = rule_set(settings, file)
    with opened_ledger(settings) as ledger:
        found = replay(ledger, settings, rules, age_s=since)
    if invocation.as_json:
        invocation.emit(replay_json(found, rules.version))
    else:
        for line in replay_lines(found, limit):
            click.echo(line)
    return ExitCode.SOME_FAILED if found.changed or found.unknown else ExitCode.OK
