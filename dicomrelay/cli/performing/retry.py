"""`dicomrelay mpps retry`."""

from __future__ import annotations

import click

from dicomrelay.cli.archiving.filters import uid_given
from dicomrelay.cli.audited import Audited
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.cli.performing.opening import opened_steps
from dicomrelay.errors import ExitCode, InstanceNotFound


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
    with opened_steps(invocation.settings) as steps:
        if uid and steps.step(uid) is None:
            raise InstanceNotFound(
                f"there is no performed procedure step {uid}: `dicomrelay mpps list` shows them"
            )
        count = steps.retry(uid)
    if invocation.as_json:
        invocation.emit({"messages": count})
    else:
        click.echo(f"{count} message{'' if count == 1 else 's'} will be forwarded now")
    return ExitCode.OK
