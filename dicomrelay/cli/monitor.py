"""`dicomrelay monitor`."""

from __future__ import annotations

from dicomrelay.cli.figures import shown
from dicomrelay.cli.importing import unwatched
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.runtime import home


@relay_command(
    service=True,
    about="Run Flower on the queues.",
    examples="dicomrelay monitor",
)
def command(invocation: Invocation) -> None:
    with unwatched():
        from monitor import flower  # noqa: PLC0415 - a service is imported where it runs

    home.prepare(invocation.settings)
    with shown(invocation.settings, "monitor") as ready:
        flower.run(invocation.settings, ready=ready)
