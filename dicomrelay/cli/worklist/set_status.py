"""`dicomrelay worklist set`."""

from __future__ import annotations

import click

from dicomrelay.cli.audited import Audited
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.cli.worklist.opening import items, key_of, opened_worklist
from dicomrelay.errors import ConfigurationError, ExitCode
from dicomrelay.scheduling.worklist_status import StepStatus


@relay_command(
    about="Give items another status: that the patient has arrived, or that a step is not to be done. MPPS of the modality "
    "does so by itself.",
    examples="dicomrelay worklist set A1 --status ARRIVED\ndicomrelay worklist set A1 --status DISCONTINUED",
    audited=Audited("worklist.set"),
)
@click.argument("item")
@click.option(
    "--status",
    required=True,
    type=click.Choice([each.value for each in StepStatus], case_sensitive=False),
    help="The new status.",
)
def command(invocation: Invocation, item: str, status: str) -> int:
    with opened_worklist(invocation.settings) as worklist:
        count = worklist.set_status(key_of(item), StepStatus(status))
    if not count:
        raise ConfigurationError(f"{item!r}: no item of the worklist has that id, accession number or study")
    if invocation.as_json:
        invocation.emit({"status_set": count})
    else:
        invocation.say(f"{items(count)}: {status}")
    return ExitCode.OK
