"""`dicomrelay jobs hold`."""

from __future__ import annotations

import click

from dicomrelay.cli.audited import Audited
from dicomrelay.cli.operating.subject import subject_options
from dicomrelay.cli.operating.verbs import Wish, perform
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.errors import ConfigurationError
from dicomrelay.ledger.values_operations import Verb


@relay_command(
    about="Stop what is queued or being sent, until it is released. A transfer that is being sent stops after the instance under "
    "way. What comes later of a held job or study is held too; it is received and archived as ever. To stop everything for one "
    "destination, see `dicomrelay destinations hold`.",
    examples="dicomrelay jobs hold 1.2.840.113619.2.1\n"
    "dicomrelay jobs hold 1.2.840.113619.2.1 --destination research",
    audited=Audited("jobs.hold", {"ids": "subject", "destination": "destination"}),
)
@subject_options
@click.option("--all", "everything", is_flag=True, hidden=True)
def command(invocation: Invocation, ids: tuple[str, ...], destination: str, everything: bool) -> int:
    # What is held one by one is released one by one: a destination is the thing to stop.
    if everything or not ids:
        raise ConfigurationError(
            "say which job, transfer or study; `dicomrelay destinations hold NAME` stops all that goes to one destination"
        )
    return perform(invocation, Wish(Verb.HOLD, ids, destination))
