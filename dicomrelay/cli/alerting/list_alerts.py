"""`dicomrelay alerts list`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import click

from dicomrelay.alerts.message import as_json
from dicomrelay.cli.ledgers import opened_ledger
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.errors import ExitCode
from dicomrelay.ledger.values_alerts import Alert, AlertMessage


@relay_command(
    about="Alerts that last, newest first, and messages that have not reached their channel. Exit code 1 while an alert "
    "lasts, or a message is still to be told.",
    examples="dicomrelay alerts list\ndicomrelay alerts list --all --json",
)
@click.option("--all", "ended", is_flag=True, help="Those that are over too, for alerts.keep_days.")
def command(invocation: Invocation, ended: bool) -> int:
    with opened_ledger(invocation.settings) as ledger:
        found = ledger.alerts.listed(ended=ended)
        untold = ledger.alerts.untold()
    if invocation.as_json:
        invocation.emit(
            {
                "alerts": [as_json(alert) for alert in found],
                "untold": [_message_as_json(message) for message in untold],
            }
        )
    else:
        for line in _lines(found, untold):
            click.echo(line)
    lasting = any(alert.ended_at_ms is None for alert in found)
    # What was given up is told here, and nothing comes of it any more.
    due = any(message.state == "due" for message in untold)
    return ExitCode.SOME_FAILED if lasting or due else ExitCode.OK


def _message_as_json(message: AlertMessage) -> dict[str, object]:
    return {
        "id": message.id,
        "alert": message.alert.id,
        "channel": message.channel,
        "what": message.told.value,
        "state": message.state,
        "attempts": message.attempts,
        "last_error": message.last_error,
    }


def _lines(found: Sequence[Alert], untold: Sequence[AlertMessage]) -> Iterator[str]:
    if not found:
        yield "no alert"
    for alert in found:
        since = _time(alert.began_at_ms)
        over = "" if alert.ended_at_ms is None else f", over since {_time(alert.ended_at_ms)}"
        yield f"{alert.severity.value:<8}  {alert.words}"
        yield f"          since {since}{over}; {alert.scope}; next: {alert.do}"
    for message in untold:
        state = "given up" if message.state == "given-up" else f"tried {message.attempts} time(s)"
        yield (
            f"untold    {message.channel}: {message.told.value} {message.alert.kind.value} {message.alert.subject}, {state}"
            f"{f': {message.last_error}' if message.last_error else ''}"
        )


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
