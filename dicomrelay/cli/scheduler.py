"""`dicomrelay scheduler`."""

from __future__ import annotations

from dicomrelay.cli.figures import broker_check, ledger_check, shown
from dicomrelay.cli.importing import unwatched
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.cli.signals import stop_on_signals
from dicomrelay.runtime import home


@relay_command(
    service=True,
    about="Find what is due in ledger and spool, every few seconds, and wake the workers.",
    examples="dicomrelay scheduler --home /var/lib/dicomrelay",
)
def command(invocation: Invocation) -> None:
    with unwatched():
        from workers import scheduler  # noqa: PLC0415 - a service is imported where it runs

    home.prepare(invocation.settings)
    settings = invocation.settings
    checks = {"ledger": ledger_check(settings), "broker": broker_check(settings)}
    with shown(settings, "scheduler", checks) as ready:
        scheduler.run(settings, ready=ready, stop=stop_on_signals())
