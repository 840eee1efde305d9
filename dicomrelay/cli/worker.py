"""`dicomrelay worker`."""

from __future__ import annotations

import click

from dicomrelay.cli.figures import broker_check, ledger_check, shown
from dicomrelay.cli.importing import unwatched
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.errors import ConfigurationError
from dicomrelay.runtime import home
from dicomrelay.runtime.process import stand_back
from dicomrelay.runtime.queue import FORWARD_QUEUES, INTAKE_QUEUES, KEEP_QUEUES, Queue
from dicomrelay.settings.sections import WorkerSettings


@relay_command(
    service=True,
    about="Take work from the queues: group, forward, archive, frames, maintenance.",
    examples="dicomrelay worker\ndicomrelay worker --queues archive,frames --nice 10 --name keep\n"
    "dicomrelay worker --queues forward.urgent,forward.normal --processes 16 --name forward-2",
)
@click.option("-Q", "--queues", help="Queues, with commas, most urgent first.  [default: all]")
@click.option(
    "--processes",
    type=click.IntRange(1, 256),
    help="Tasks at once: threads where it takes only forward queues, else processes.  [default: worker.forward_transfers, "
    "worker.keep_processes or worker.intake_processes]",
)
@click.option(
    "--name", default="worker", show_default=True, help="Name in Flower and in the ledger's leases."
)
@click.option(
    "--nice",
    type=click.IntRange(0, 19),
    default=0,
    show_default=True,
    help="How far it stands back where there is too little CPU for all.",
)
def command(invocation: Invocation, queues: str | None, processes: int | None, name: str, nice: int) -> None:
    with unwatched():
        from workers import app  # noqa: PLC0415 - a service is imported where it runs

    settings = invocation.settings
    stand_back(nice)
    home.prepare(settings)
    chosen = _queues(queues) if queues else [*FORWARD_QUEUES, *INTAKE_QUEUES, *KEEP_QUEUES]
    checks = {"ledger": ledger_check(settings), "broker": broker_check(settings)}
    with shown(settings, f"worker-{name}", checks) as ready:
        app.run(
            settings,
            queues=chosen,
            processes=processes or _processes(settings.worker, chosen),
            name=name,
            threads=set(chosen) <= set(FORWARD_QUEUES),
            ready=ready,
        )


def _processes(worker: WorkerSettings, queues: list[Queue]) -> int:
    if set(queues) <= set(FORWARD_QUEUES):
        return worker.forward_transfers
    return worker.keep_processes if set(queues) <= set(KEEP_QUEUES) else worker.intake_processes


def _queues(text: str) -> list[Queue]:
    try:
        return [Queue(name.strip()) for name in text.split(",")]
    except ValueError as error:
        raise ConfigurationError(f"--queues: {error}; known: {', '.join(Queue)}") from error
