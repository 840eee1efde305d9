"""`dicomrelay pull list`."""

from __future__ import annotations

import click

from dicomrelay.cli.ledgers import opened_ledger
from dicomrelay.cli.operating.words import state_words
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.cli.pulling import words
from dicomrelay.errors import ExitCode
from dicomrelay.ledger.values_pulls import PullState


@relay_command(
    about="The newest pulls: from where, how many studies and instances are here of those announced, and how long the rest will "
    "take. Exit code 0 whatever the states are.",
    examples="dicomrelay pull list\ndicomrelay pull list --state partial\ndicomrelay pull list --limit 100 --json",
)
@click.option(
    "--state", type=click.Choice([state.value for state in PullState]), help="Only those in this state."
)
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Pulls to show at most."
)
def command(invocation: Invocation, state: str | None, limit: int) -> int:
    with opened_ledger(invocation.settings) as ledger:
        rows = ledger.pulls.newest(limit=limit, states=[PullState(state)] if state else [])
    if invocation.as_json:
        invocation.emit({"pulls": [words.pull_json(row) for row in rows]})
        return ExitCode.OK
    for row in rows:
        click.echo(words.head(row))
        for line in words.lines(row):
            click.echo(f"    {line}")
    if not rows:
        click.echo(f"no pull {'is ' + state_words(state) if state else 'yet'}")
    return ExitCode.OK
