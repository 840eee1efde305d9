"""`dicomrelay worker`."""

from __future__ import annotations

import click

from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.errors import ConfigurationError
from dicomrelay.runtime import home
from dicomrelay.runtime.queue import FORWARD_QUEUES, INTAKE_QUEUES, Queue
from dicomrelay.runtime.readiness import notify_ready


@relay_command(
    service=True,
    about="Take work from the queues: group, forward, archive, frames, maintenance.",
    examples="dicomrelay worker\ndicomrelay worker --queues forward.urgent,forward.normal --processes 16 --name forward-2",
)
@click.option("-Q", "--queues", help="Queues, with commas, most urgent first.  [default: all]")
@click.option(
    "--processes",
    type=click.IntRange(1, 256),
    help="Tasks at once: threads where it takes only forward queues, else processes.  [default: worker.forward_transfers, "
    "worker.intake_processes]",
)
@click.option(
    "--name", default="worker", show_default=True, help="Name in Flower and in the ledger's leases."
)
def command(invocation: Invocation, queues: str | None, processes: int | None, name: str) -> None:
    from workers import app  # noqa: PLC0415 - a service is imported where it runs

    settings = invocation.settings
    home.prepare(settings)
    chosen = _queues(queues) if queues else [*FORWARD_QUEUES, *INTAKE_QUEUES]
    only_forward = set(chosen) <= set(FORWARD_QUEUES)
    app.run(
        settings,
        queues=chosen,
        processes=processes
        or (settings.worker.forward_transfers if only_forward else settings.worker.intake_processes),
        name=name,
        threads=only_forward,
        ready=notify_ready,
    )


def _queues(text: str) -> list[Queue]:
    try:
        return [Queue(name.strip()) for name in text.split(",")]
    except ValueError as error:
        raise ConfigurationError(f"--queues: {error}; known: {', '.join(Queue)}") from error
