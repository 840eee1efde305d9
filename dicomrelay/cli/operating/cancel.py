"""`dicomrelay jobs cancel`."""

from __future__ import annotations

import sys

import click

from dicomrelay.cli.audited import Audited
from dicomrelay.cli.operating.subject import all_option, subject_options
from dicomrelay.cli.operating.verbs import Wish, perform
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.errors import ConfigurationError
from dicomrelay.ledger.values_operations import Verb


@relay_command(
    about="End for good what is not delivered yet: it will not be sent. What was delivered stays delivered, and no image is "
    "deleted: what nobody else has stays in the spool and is listed. What comes later of a cancelled job or study is cancelled "
    "too, until it is released. `dicomrelay jobs replay` sends what was cancelled after all.",
    examples="dicomrelay jobs cancel 1.2.840.113619.2.1 --destination research\n"
    "dicomrelay jobs cancel --all --destination old-pacs --yes",
    audited=Audited("jobs.cancel", {"ids": "subject", "destination": "destination", "everything": "all"}),
)
@subject_options
@all_option
@click.option("--yes", is_flag=True, help="Do not ask.")
def command(
    invocation: Invocation, ids: tuple[str, ...], destination: str, everything: bool, yes: bool
) -> int:
    if not yes:
        _ask(ids, destination)
    return perform(invocation, Wish(Verb.CANCEL, ids, destination, everything))


def _ask(ids: tuple[str, ...], destination: str) -> None:
    what = ", ".join(ids) or "EVERYTHING that is open"
    to = f" to {destination}" if destination else " to every destination"
    if not sys.stdin.isatty():
        raise ConfigurationError(f"cancel {what}{to}: say --yes, for nobody can be asked here")
    click.confirm(f"Cancel {what}{to}? What is not delivered yet will not be sent", abort=True, err=True)
