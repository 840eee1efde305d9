"""`dicomrelay mpps show`."""

from __future__ import annotations

import json
from typing import Any

import click

from dicomrelay.cli.answers import as_json
from dicomrelay.cli.archiving.filters import uid_given
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.cli.performing.opening import opened_steps, step_of
from dicomrelay.cli.performing.words import message_json, step_json, step_lines, when, why
from dicomrelay.errors import ExitCode
from dicomrelay.text import shown


@relay_command(
    about="One performed procedure step: its state, the scheduled steps that it was for, every message about it, and how each "
    "stands with the systems that it is forwarded to. With --attributes all that it says, which names the patient.",
    examples="dicomrelay mpps show 1.2.840.113619.2.1.5\ndicomrelay mpps show 1.2.840.113619.2.1.5 --attributes --json",
)
@click.option("--attributes", is_flag=True, help="Its attributes too, as DICOM JSON: they name the patient.")
@click.argument("uid", metavar="SOP_INSTANCE_UID")
def command(invocation: Invocation, attributes: bool, uid: str) -> int:
    uid = uid_given("SOP_INSTANCE_UID", uid)
    with opened_steps(invocation.settings) as steps:
        row = step_of(steps, uid)
        messages = steps.messages(uid)
        said: dict[str, Any] | None = as_json(steps.attributes(uid)) if attributes else None
    if invocation.as_json:
        found = {**step_json(row), "message_list": [message_json(each) for each in messages]}
        invocation.emit({**found, "attributes": said} if attributes else found)
        return ExitCode.OK
    for line in step_lines(row):
        click.echo(line)
    for each in row.scheduled:
        ids = (each.accession_number, each.requested_procedure_id, each.scheduled_procedure_step_id)
        named = zip(("accession number", "requested procedure", "scheduled step"), ids, strict=True)
        words = [f"{name} {shown(value)}" for name, value in named if value]
        click.echo(f"scheduled:    {', '.join(words) or 'not: no number is given'}")
    for message in messages:
        click.echo(
            f"{when(message.at)}  {message.kind.value:<8} from {shown(message.calling_ae_title)}: {message.state.value}"
        )
        for forward in row.forwards:
            if forward.number == message.number:
                because = why(forward)
                state = forward.state.value.replace("_", " ")
                click.echo(f"    to {forward.destination}: {state}{f': {because}' if because else ''}")
    if said is not None:
        click.echo(json.dumps(said, indent=2))
    return ExitCode.OK
