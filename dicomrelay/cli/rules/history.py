"""`dicomrelay rules history`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence

import click

from dicomrelay.cli.ledgers import opened_ledger
from dicomrelay.cli.operating.words import counted
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.errors import ConfigurationError, ExitCode
from dicomrelay.ledger.values_decisions import Activation, RuleVersion
from dicomrelay.telling.journey import time_of


@relay_command(
    about="Which rules were in force, the newest first: since when, from what file, and how much each version decided. With "
    "VERSION what it says, as JSON.",
    examples="dicomrelay rules history\ndicomrelay rules history 0a1b2c3d4e5f6071",
)
@click.argument("version", required=False)
def command(invocation: Invocation, version: str | None) -> int:
    with opened_ledger(invocation.settings) as ledger:
        versions, activations = ledger.rulings.versions(), ledger.rulings.activations()
    if version is not None:
        found = [each for each in versions if each.version.startswith(version.lower())]
        if len(found) != 1:
            many = "more than one version begins" if found else "no version begins"
            raise ConfigurationError(f"{many} with {version!r}: `dicomrelay rules history` lists them")
        click.echo(json.dumps(json.loads(found[0].body), indent=2))
    elif invocation.as_json:
        invocation.emit(
            {
                "versions": [dataclasses.asdict(each) for each in versions],
                "activations": [dataclasses.asdict(each) for each in activations],
            }
        )
    else:
        for line in _lines(versions, activations):
            click.echo(line)
    return ExitCode.OK


def _lines(versions: Sequence[RuleVersion], activations: Sequence[Activation]) -> Iterator[str]:
    if not versions:
        yield "nothing was decided yet"
    for each in versions:
        last = f", the last {time_of(each.last_at)}" if each.last_at is not None else ""
        yield (
            f"{each.version}  first {time_of(each.first_at)}, {counted(each.decisions, 'decision')}{last}, from {each.origin}"
        )
    for done in activations:
        forced = ", forced" if done.forced else ""
        yield (
            f"activated {time_of(done.at)}: {done.version} after {done.previous or 'none'}, "
            f"{done.changed} of {counted(done.decisions, 'decision')} would have been others{forced}"
        )
