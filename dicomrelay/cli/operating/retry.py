"""`dicomrelay jobs retry`."""

from __future__ import annotations

from dicomrelay.cli.audited import Audited
from dicomrelay.cli.operating.subject import all_option, subject_options
from dicomrelay.cli.operating.verbs import Wish, perform
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.ledger.values_operations import Verb


@relay_command(
    about="Try now what waits for its next attempt or needs attention, refused instances too, with the attempts counted from the "
    "beginning. Only what is not delivered is sent. What the archive or the frame index could not do is tried again too, unless "
    "--destination is given.",
    examples="dicomrelay jobs retry 1.2.840.113619.2.1\n"
    "dicomrelay jobs retry --all --destination pacs\n"
    "dicomrelay jobs retry 20260301T081500-3fa9c1 --json",
    audited=Audited("jobs.retry", {"ids": "subject", "destination": "destination", "everything": "all"}),
)
@subject_options
@all_option
def command(invocation: Invocation, ids: tuple[str, ...], destination: str, everything: bool) -> int:
    return perform(invocation, Wish(Verb.RETRY, ids, destination, everything))
