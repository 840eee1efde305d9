"""`dicomrelay mpps drop`."""

from __future__ import annotations

import click

from dicomrelay.cli.archiving.filters import uid_given
from dicomrelay.cli.audited import Audited
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.cli.performing.opening import opened_steps, step_of
from dicomrelay.cli.performing.words import unheard
from dicomrelay.errors import ConfigurationError, ExitCode


@relay_command(
    about="Tell a system nothing more of one performed procedure step: the messages that it has not heard are given up, and so "
    "are those that are still to come. The step stays here, and other systems hear of it as before.",
    examples="dicomrelay mpps drop 1.2.840.113619.2.1.5 --to old-ris",
    audited=Audited("mpps.drop", {"uid": "step", "name": "destination"}),
)
@click.option(
    "--to", "name", required=True, metavar="NAME", help="Its name, also one that is in the settings no more."
)
@click.argument("uid", metavar="SOP_INSTANCE_UID")
def command(invocation: Invocation, name: str, uid: str) -> int:
    uid = uid_given("SOP_INSTANCE_UID", uid)
    with opened_steps(invocation.settings) as steps:
        waits = unheard(step_of(steps, uid))
        if name not in waits:
            raise ConfigurationError(
                f"--to {name!r}: it has nothing of that step to hear; "
                f"{', '.join(waits) if waits else 'nobody'} has: `dicomrelay mpps show {uid}`"
            )
        count = steps.drop(uid, name)
    if invocation.as_json:
        invocation.emit({"messages": count})
    else:
        click.echo(f"{count} message{'' if count == 1 else 's'} given up: {name} is told nothing more of it")
    return ExitCode.OK
