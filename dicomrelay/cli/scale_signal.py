"""`dicomrelay scale-signal`."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass

import click

from dicomrelay.cli.ledgers import opened_ledger
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.errors import ConfigurationError
from dicomrelay.ledger.breaker import BreakerState
from dicomrelay.ledger.flow_summary import DestinationFlow
from dicomrelay.routing.destinations import closed


@dataclass(frozen=True, slots=True)
class Signal:
    """How many forward workers the work at hand could use.

    Attributes
    ----------
    workers : int
        Processes, between the bounds that were given.
    wanted : int
        The same without bounds.
    runnable : int
        Transfers that could be sent at once, the running ones included.
    running, transfers : int
        Those that are being sent, and all that are due.
    held_back : int
        Transfers that no worker could send now: their destination is full, away, held or outside its windows.
    """

    workers: int
    wanted: int
    runnable: int
    running: int
    transfers: int
    held_back: int


def signal_of(
    flows: Sequence[DestinationFlow], shut: Collection[str], *, places: int, least: int, most: int
) -> Signal:
    """The signal (docs/design/deployment.md).

    Parameters
    ----------
    shut : collection of str
        Destinations that are outside of their time windows.
    places : int
        Transfers that one worker has in hand at once, 1 or more.
    least, most : int
        Bounds of the answer; `least` is at most `most`.
    """
    runnable = sum(min(each.transfers, _takes(each, shut)) for each in flows)
    transfers = sum(each.transfers for each in flows)
    wanted = math.ceil(runnable / places)
    running = sum(each.running for each in flows)
    return Signal(
        min(most, max(least, wanted)), wanted, runnable, running, transfers, max(0, transfers - runnable)
    )


def _takes(flow: DestinationFlow, shut: Collection[str]) -> int:
    if flow.held_for_ms is not None or flow.name in shut:
        return 0
    if flow.breaker != BreakerState.CLOSED:
        return 1  # whoever is there makes the trial: an outage must not leave nobody to see its end
    return flow.limit


@relay_command(
    about="How many forward workers the work at hand could use, for autoscalers: what could be sent at once, by the limits of "
    "the destinations, over what one worker sends at once. Work that no worker could send now (its destination is full, away, "
    "held or outside its windows) asks for none.",
    examples="dicomrelay scale-signal\ndicomrelay scale-signal --min 1 --max 8 --json\n"
    'docker compose --profile scale up --detach --no-recreate --scale worker="$(dicomrelay scale-signal --max 8)"',
)
@click.option(
    "--min", "least", type=click.IntRange(0, 10_000), default=1, show_default=True, help="Never fewer."
)
@click.option(
    "--max", "most", type=click.IntRange(0, 10_000), default=10_000, show_default=True, help="Never more."
)
def command(invocation: Invocation, least: int, most: int) -> None:
    if least > most:
        raise ConfigurationError(f"--min {least} is more than --max {most}")
    settings, now = invocation.settings, time.localtime()
    with opened_ledger(settings) as ledger:
        flows = ledger.flow.destinations()
    signal = signal_of(
        flows,
        closed(settings.destinations, now.tm_hour * 60 + now.tm_min),
        places=settings.worker.forward_transfers,
        least=least,
        most=most,
    )
    if invocation.as_json:
        invocation.emit({**asdict(signal), "transfers_each": settings.worker.forward_transfers})
        return
    click.echo(signal.workers)
    invocation.say(
        f"{signal.runnable} of {signal.transfers} transfers could be sent at once; a worker sends "
        f"{settings.worker.forward_transfers}"
    )
