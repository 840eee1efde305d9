"""`dicomrelay alerts test`."""

from __future__ import annotations

import secrets
import time

import click

from dicomrelay.alerts.channels import channels_of
from dicomrelay.alerts.message import trial
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.errors import ConfigurationError, ExitCode, RelayError
from dicomrelay.runtime.home import known_spool_name


@relay_command(
    about="Tell every channel, or one, that somebody tries whether alerts arrive. From this process, at once, and once: the "
    "ledger is not needed. Exit code 3 when a channel does not take it.",
    examples="dicomrelay alerts test\ndicomrelay alerts test --channel mail",
)
@click.option(
    "--channel", "only", metavar="NAME", help="A webhook's name, or mail.  [default: all]", default=None
)
def command(invocation: Invocation, only: str | None) -> int:
    channels = channels_of(invocation.settings.alerts)
    if not channels:
        raise ConfigurationError(
            "[alerts] has neither webhooks nor mail: nobody is told (docs/howto/alerts.md)"
        )
    if only is not None and only not in channels:
        raise ConfigurationError(f"--channel {only}: there is no such channel; known: {', '.join(channels)}")
    host = known_spool_name(invocation.settings) or "no spool yet"
    results: dict[str, str] = {}
    for name, channel in channels.items():
        if only not in (None, name):
            continue
        try:
            results[name] = channel.tell([trial(secrets.token_hex(16), host, time.time_ns() // 1_000_000)])
        except RelayError as error:
            results[name] = str(error)
        if not invocation.as_json:
            click.echo(f"{name:<12} {results[name] or 'taken'}")
    if invocation.as_json:
        invocation.emit([{"channel": name, "taken": not why, "why": why} for name, why in results.items()])
    return ExitCode.UNREACHABLE if any(results.values()) else ExitCode.OK
