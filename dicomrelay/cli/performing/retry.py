"""`dicomrelay mpps retry`."""

from __future__ import annotations

import click

from dicomrelay.cli.archiving.filters import uid_given
from dicomrelay.cli.audited import Audited
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.cli.performing.opening import opened_steps, step_of
from dicomrelay.cli.performing.words import unheard
from dicomrelay.errors import ExitCode

_MOST = 10_000


@relay_command(
    about="Forward now what waits for its next attempt or needs attention: of one performed procedure step, or with --all of "
    "all. Messages of a step go in their order still.",
    examples="dicomrelay mpps retry 1.2.840.113619.2.1.5\ndicomrelay mpps retry --all",
    audited=Audited("mpps.retry", {"uid": "step"}),
)
@click.option("--all", "of_all", is_flag=True, help="Of all steps.")
@click.argument("uid", metavar="[SOP_INSTANCE_UID]", default="")
def command(invocation: Invocation, of_all: bool, uid: str) -> int:
    if bool(uid) == of_all:
        raise click.UsageError("name the SOP Instance UID of a step, or say --all")
    uid = uid_given("SOP_INSTANCE_UID", uid) if uid else ""
    known = {each.name for each in invocation.settings.performed_procedure_steps.destinations}
    with opened_steps(invocation.settings) as steps:
        rows = (step_of(steps, uid),) if uid else steps.steps(is_stuck=True, limit=_MOST)
        strangers = {name for row in rows for name in unheard(row) if name not in known}
        count = steps.retry(uid, known)
    if invocation.as_json:
        invocation.emit({"messages": count, "unknown_destinations": sorted(strangers)})
    else:
        click.echo(f"{count} message{'' if count == 1 else 's'} will be forwarded now")
    for name in sorted(strangers):
        invocation.say(
            f"{name}: not in [[performed_procedure_steps.destinations]], so nobody is told: put it there, or give it up with "
            f"`dicomrelay mpps drop UID --to {name}`"
        )
    return ExitCode.SOME_FAILED if strangers else ExitCode.OK
