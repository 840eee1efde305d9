"""`dicomrelay pull retry`."""

from __future__ import annotations

import click

from dicomrelay.cli.audited import Audited
from dicomrelay.cli.ledgers import opened_ledger
from dicomrelay.cli.operating.running import runs_here
from dicomrelay.cli.operating.words import counted
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.cli.pulling import words
from dicomrelay.errors import ExitCode


@relay_command(
    about="Try now what was given up or waits for its next attempt, with the attempts counted from the beginning. Only what is "
    "not here is fetched.",
    examples="dicomrelay pull retry 01a200aec434",
    audited=Audited("pull.retry", {"pull_id": "pull"}),
)
@click.argument("pull_id", metavar="PULL")
def command(invocation: Invocation, pull_id: str) -> int:
    with opened_ledger(invocation.settings) as ledger:
        found = words.find_pull(ledger, pull_id)
        count = ledger.pulls.retry(found) or 0
        row = words.pull_of(ledger, found)
    following = words.next_line(row, runs=runs_here(invocation.settings))
    if invocation.as_json:
        invocation.emit({**words.pull_json(row), "tried_again": count, "next": following})
    else:
        click.echo(
            f"{found}: {counted(count, 'step')} tried again now" if count else f"{found}: nothing to retry"
        )
        click.echo(following)
    return ExitCode.OK
