"""`dicomrelay jobs list`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

import click

from dicomrelay.cli.discretion import in_our_words
from dicomrelay.cli.ledgers import opened_ledger
from dicomrelay.cli.operating.stopping import Stopper, stopped_of, stoppers
from dicomrelay.cli.operating.words import job_json, plural, standing_words, state_words
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.errors import ExitCode
from dicomrelay.ledger.values import TransferState
from dicomrelay.ledger.values_operations import JobRow

_NEXT = {
    TransferState.NEEDS_ATTENTION.value: "`dicomrelay jobs show {id}` says why, `dicomrelay jobs retry {id}` tries again",
    TransferState.HELD.value: "`dicomrelay jobs release {id}` lets it go",
    TransferState.WAITING.value: "`dicomrelay jobs retry {id}` tries now, `dicomrelay destinations` says how they are",
}


@relay_command(
    about="The newest jobs: what was submitted together, and the studies that came over the network. Each with the most pressing "
    "of its states and how its deliveries stand, one for each instance and destination. Exit code 0 whatever the states are.",
    examples="dicomrelay jobs list\ndicomrelay jobs list --state needs_attention\ndicomrelay jobs list --limit 100 --json",
)
@click.option(
    "--state",
    type=click.Choice([state.value for state in TransferState]),
    help="Only jobs that have a transfer in this state; done: all of them.",
)
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Jobs to show at most."
)
def command(invocation: Invocation, state: str | None, limit: int) -> int:
    with opened_ledger(invocation.settings) as ledger:
        found = ledger.operations.jobs(limit=limit, state=TransferState(state) if state else None)
        rows = in_our_words(found, verbose=invocation.verbose)
        known = stoppers(ledger, invocation.settings)
    following = _next(rows)
    if invocation.as_json:
        invocation.emit(
            {
                "jobs": [
                    {**job_json(row), "stopped_by": [each.words for each in stopped_of(row, known)]}
                    for row in rows
                ],
                "next": following,
            }
        )
        return ExitCode.OK
    for line in _lines(rows, state, known):
        click.echo(line)
    if following:
        click.echo(following)
    return ExitCode.OK


def _lines(rows: Sequence[JobRow], state: str | None, known: Mapping[str, Stopper]) -> Iterator[str]:
    if not rows:
        yield f"no job {'has a transfer that is ' + state_words(state) if state else 'yet'}"
    now = time.time()
    for row in rows:
        yield f"{state_words(row.state):<15}  {row.id}  {row.kind}, {age(now - row.at_ms / 1000)} ago"
        yield f"                 {_deliveries(row)} to {', '.join(row.destinations) or 'nowhere'}"
        stopped = stopped_of(row, known)
        yield from (f"                 {each.words}" for each in stopped)
        if row.next_due_in_ms and row.reason and not stopped:
            yield f"                 next attempt in {max(1, row.next_due_in_ms // 1000)} s: {row.reason}"
        elif row.reason and not stopped:
            yield f"                 {row.reason}"
        if row.advice:
            yield f"                 {row.advice}"


def _deliveries(row: JobRow) -> str:
    parts = standing_words(row.delivery_states)
    parts += [f"{row.ungrouped} arriving"] if row.ungrouped else []
    total = sum(row.delivery_states.values()) + row.ungrouped
    return f"{plural(total, 'delivery', 'deliveries')} ({', '.join(parts)})" if parts else "nothing"


def age(seconds: float) -> str:
    """Such as "3 min"."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def _next(rows: Sequence[JobRow]) -> str:
    """What the most pressing of them asks for."""
    for state, advice in _NEXT.items():
        row = next((row for row in rows if row.state == state), None)
        if row is not None:
            return f"next: {advice.format(id=row.id)}"
    return ""
