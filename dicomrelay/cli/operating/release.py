"""`dicomrelay jobs release`."""

from __future__ import annotations

from dicomrelay.cli.audited import Audited
from dicomrelay.cli.operating.subject import all_option, subject_options
from dicomrelay.cli.operating.verbs import Wish, perform
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.ledger.values_operations import Verb


@relay_command(
    about="Let go what is held, and take back what was said about what comes later. What was cancelled stays cancelled. With "
    "--destination, only what goes there is let go.",
    examples="dicomrelay jobs release 1.2.840.113619.2.1\ndicomrelay jobs release --all --destination pacs",
    audited=Audited("jobs.release", {"ids": "subject", "destination": "destination", "everything": "all"}),
)
@subject_options
@all_option
def command(invocation: Invocation, ids: tuple[str, ...], destination: str, everything: bool) -> int:
    return perform(invocation, Wish(Verb.RELEASE, ids, destination, everything))
