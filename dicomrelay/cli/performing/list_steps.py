"""`dicomrelay mpps list`."""

from __future__ import annotations

import click

from dicomrelay.cli.archiving.filters import uid_given
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.cli.performing.opening import opened_steps
from dicomrelay.cli.performing.words import step_json, step_lines
from dicomrelay.dicom.performed_step import StepState
from dicomrelay.errors import ExitCode
from dicomrelay.scheduling.performed_values import ForwardState

_STATES = {state.name.lower().replace("_", "-"): state for state in StepState}


@relay_command(
    about="The performed procedure steps that changed last, the newest first: their state, modality, station and studies, and "
    "how they stand with the systems that they are forwarded to. No patient is named.",
    examples="dicomrelay mpps list\n"
    "dicomrelay mpps list --state in-progress\n"
    "dicomrelay mpps list --stuck\n"
    "dicomrelay mpps list --study 1.2.840.113619.2.1 --json",
)
@click.option("--state", type=click.Choice([*_STATES]), help="Only steps in this state.")
@click.option("--study", default="", help="Only steps for the study of this UID.")
@click.option("--stuck", is_flag=True, help="Only steps of which a message needs attention.")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Steps to show at most."
)
def command(invocation: Invocation, state: str | None, study: str, stuck: bool, limit: int) -> int:
    study = uid_given("--study", study) if study else ""
    with opened_steps(invocation.settings) as steps:
        rows = steps.steps(
            state=_STATES[state] if state else None, study_instance_uid=study, is_stuck=stuck, limit=limit
        )
    if invocation.as_json:
        invocation.emit({"steps": [step_json(row) for row in rows]})
        return ExitCode.OK
    for row in rows:
        for line in step_lines(row):
            click.echo(line)
    if not rows:
        click.echo("no performed procedure step" + (" like that" if state or study or stuck else " yet"))
    if any(each.state is ForwardState.NEEDS_ATTENTION for row in rows for each in row.forwards):
        click.echo("next: `dicomrelay mpps show UID` says why, `dicomrelay mpps retry UID` tries again")
    return ExitCode.OK
