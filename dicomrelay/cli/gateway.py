"""`dicomrelay gateway`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from dicomrelay.cli.figures import shown
from dicomrelay.cli.importing import unwatched
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.cli.signals import stop_on_signals
from dicomrelay.runtime import home
from dicomrelay.runtime.health import room_for
from dicomrelay.runtime.queue import Task, WakeUps


def _overrides(options: Mapping[str, Any]) -> Mapping[str, Any]:
    given = {key: options[key] for key in ("host", "port", "ae_title") if options[key] is not None}
    return {"gateway": given} if given else {}


@relay_command(
    service=True,
    about="Listen for C-STORE, and keep what arrives in the spool.",
    examples="dicomrelay gateway\ndicomrelay gateway --ae-title ROUTER --port 11112 --home /var/lib/dicomrelay",
    overrides=_overrides,
)
@click.option("-a", "--ae-title", help="Our AE title.  [default: gateway.ae_title]")
@click.option("--host", help="Address to listen on.  [default: gateway.host]")
@click.option("-p", "--port", type=int, help="Port to listen on.  [default: gateway.port]")
def command(invocation: Invocation, /, **_options: object) -> None:
    with unwatched():
        from dicomrelay.cli.moves import MoveLedger  # noqa: PLC0415 - a service is imported where it runs
        from dicomrelay.cli.transactions import Transactions  # noqa: PLC0415
        from scp_gateway import app  # noqa: PLC0415
        from scp_gateway.reports import ReportPort  # noqa: PLC0415
        from scp_gateway.retrieve import MovePort  # noqa: PLC0415

    settings = invocation.settings
    home.prepare(settings)
    wake_ups = WakeUps(settings)
    stop = stop_on_signals()
    ledger = MoveLedger(settings)
    with shown(settings, "gateway", {"disk": room_for(settings)}) as ready:
        app.run(
            settings,
            wake=lambda: wake_ups.send(Task.GROUP),
            ended=lambda ids: wake_ups.send(Task.GROUP, ids=ids),
            ready=ready,
            stop=stop,
            reports=ReportPort(wake=lambda: wake_ups.send(Task.REPORTS), knows=Transactions(settings)),
            moves=MovePort(held=ledger.held, book=ledger.book),
            came=ledger.came,
        )
