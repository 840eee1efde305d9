"""`dicomrelay streamer`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from dicomrelay.cli.figures import shown
from dicomrelay.cli.importing import unwatched
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.cli.signals import stop_on_signals
from dicomrelay.runtime import home
from dicomrelay.runtime.queue import Task, WakeUps


def _overrides(options: Mapping[str, Any]) -> Mapping[str, Any]:
    given = {key: options[key] for key in ("host", "port") if options[key] is not None}
    return {"streamer": given} if given else {}


@relay_command(
    service=True,
    about="Serve the archive over HTTP: QIDO-RS, WADO-RS, frames, a viewer; take instances by STOW-RS.",
    examples="dicomrelay streamer\ndicomrelay streamer --port 8080",
    overrides=_overrides,
)
@click.option("--host", help="Address to listen on.  [default: streamer.host]")
@click.option("-p", "--port", type=int, help="Port to listen on.  [default: streamer.port]")
def command(invocation: Invocation, /, **_options: object) -> None:
    with unwatched():
        from scp_gateway.web_intake import WebIntake  # noqa: PLC0415 - a service is imported where it runs
        from streamer import app  # noqa: PLC0415

    settings = invocation.settings
    home.prepare(settings)
    wake_ups = WakeUps(settings)
    intake = WebIntake(
        settings,
        wake=lambda: wake_ups.send(Task.GROUP),
        ended=lambda ids: wake_ups.send(Task.GROUP, ids=ids),
    )
    with shown(settings, "streamer") as ready:
        app.run(settings, ready=ready, stop=stop_on_signals(), intake=intake)
