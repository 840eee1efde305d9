"""`dicomrelay pull cancel`."""

from __future__ import annotations

import click

from dicomrelay.cli.audited import Audited
from dicomrelay.cli.ledgers import opened_ledger
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.cli.pulling import words
from dicomrelay.errors import ExitCode
from dicomrelay.ledger.values_pulls import PullState


@relay_command(
    about="End a pull for good. What has come stays, and goes on by the rules; a study that is under way is stopped within "
    "seconds, by C-CANCEL. Exit code 1 when it is complete already.",
    examples="dicomrelay pull cancel 01a200aec434",
    audited=Audited("pull.cancel", {"pull_id": "pull"}),
)
@click.argument("pull_id", metavar="PULL")
def command(invocation: Invocation, pull_id: str) -> int:
    with opened_ledger(invocation.settings) as ledger:
        found = words.find_pull(ledger, pull_id)
        ledger.pulls.cancel(found)
        row = words.pull_of(ledger, found)
    is_cancelled = row.state is PullState.CANCELLED
    if invocation.as_json:
        invocation.emit({**words.pull_json(row), "cancelled": is_cancelled})
    elif is_cancelled:
        click.echo(f"{found} is cancelled: {row.here} instances of it are here")
    else:
        click.echo(f"{found} is complete: there is nothing to cancel")
    return ExitCode.OK if is_cancelled else ExitCode.SOME_FAILED
