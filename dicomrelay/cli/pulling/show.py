"""`dicomrelay pull show`."""

from __future__ import annotations

import dataclasses

import click

from dicomrelay.cli.ledgers import opened_ledger
from dicomrelay.cli.operating.running import runs_here
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.cli.pulling import words
from dicomrelay.ledger.values_pulls import StepKind


@relay_command(
    about="A pull: its studies with what is here and how that is known (uids: each instance was compared; counts: their number; "
    "word: the source's word), and what is missing. Exit code 1 when something is missing and nothing more happens by itself.",
    examples="dicomrelay pull show 01a200aec434\ndicomrelay pull show 01a200aec434 --missing 10000 --json",
)
@click.argument("pull_id", metavar="PULL")
@click.option(
    "--steps",
    "steps_limit",
    type=click.IntRange(0, 100_000),
    default=20,
    show_default=True,
    help="Studies to show at most, those that are open or were given up first.",
)
@click.option(
    "--missing",
    "missing_limit",
    type=click.IntRange(0, 1_000_000),
    default=20,
    show_default=True,
    help="Missing instances to name at most.",
)
def command(invocation: Invocation, pull_id: str, steps_limit: int, missing_limit: int) -> int:
    with opened_ledger(invocation.settings) as ledger:
        found = words.find_pull(ledger, pull_id)
        row = words.pull_of(ledger, found)
        steps = [
            step for step in ledger.pulls.steps(found, limit=steps_limit + 1) if step.kind is StepKind.FETCH
        ][:steps_limit]
        missing = ledger.pulls.missing(found, limit=missing_limit)
    following = words.next_line(row, runs=runs_here(invocation.settings))
    code = words.exit_code(row)
    if invocation.as_json:
        invocation.emit(
            {
                **words.pull_json(row),
                "steps_shown": [dataclasses.asdict(step) for step in steps],
                "missing_shown": [
                    {"study_instance_uid": study, **dataclasses.asdict(each)} for study, each in missing
                ],
                "next": following,
                "exit_code": int(code),
            }
        )
        return code
    click.echo(words.head(row))
    if row.asked_for:
        click.echo(f"    asked for by {row.asked_for}")
    for line in words.lines(row):
        click.echo(f"    {line}")
    for step in steps:
        click.echo(f"    {words.step_line(step)}")
        if step.reason:
            click.echo(f"        {step.reason}")
    for study, each in missing:
        click.echo(f"    missing: {study} {each.series_instance_uid} {each.sop_instance_uid}")
    if len(missing) < row.missing:
        click.echo(
            f"    {row.missing - len(missing)} more are missing (--missing names more, as far as the source named them)"
        )
    click.echo(following)
    return code
