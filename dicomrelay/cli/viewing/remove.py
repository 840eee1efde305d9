"""`dicomrelay viewer remove`."""

from __future__ import annotations

import click

from dicomrelay.cli.audited import Audited
from dicomrelay.cli.options import Invocation, relay_command


@relay_command(
    about="Take an installed viewer away again: `ohif`.",
    examples="dicomrelay viewer remove ohif",
    audited=Audited("viewer.remove"),
)
@click.argument("name", type=click.Choice(["ohif"]))
def command(invocation: Invocation, /, name: str) -> None:
    from streamer.viewer import ohif_install  # noqa: PLC0415 - a service is imported where it runs

    was_there = ohif_install.remove(invocation.settings.path("viewers"))
    invocation.say(f"{name} is removed" if was_there else f"{name} was not installed")
    if invocation.as_json:
        invocation.emit({"viewer": name, "removed": was_there})
