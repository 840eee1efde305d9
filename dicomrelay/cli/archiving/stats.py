"""`dicomrelay archive stats`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click

from archive.values import Amount, Statistics
from dicomrelay.cli.archiving.columns import Column
from dicomrelay.cli.archiving.dates import shown_date, shown_time
from dicomrelay.cli.archiving.opening import archive_option, opened
from dicomrelay.cli.archiving.table import TableWriter, terminal_width
from dicomrelay.cli.archiving.words import format_named
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.errors import ExitCode
from dicomrelay.text import size

_AMOUNTS: Final = (
    Column("Studies", "studies", "STUDIES", is_right=True),
    Column("Series", "series", "SERIES", is_right=True),
    Column("Instances", "instances", "INSTANCES", is_right=True),
    Column("Bytes", "bytes", "SIZE", is_right=True),
)
# What wants to be looked at, and the command that shows it.
_ATTENTION: Final = {
    "damaged": "damaged file{s}: `dicomrelay archive check --damaged`",
    "conflicts": "conflict{s}: `dicomrelay archive conflicts list`",
    "disagreements": "disagreement{s} between instances: `dicomrelay archive conflicts list --disagreements`",
    "removed": "instance{s} removed: `dicomrelay archive remove --list`",
}


@relay_command(
    about="How much is in the archive, by modality and by year of the study, and what wants to be looked at. Answered from "
    "counters. --json is --format json.",
    examples="dicomrelay archive stats\n"
    "dicomrelay archive stats --archive /data/archive\n"
    "dicomrelay archive stats --format json",
)
@archive_option
@click.option(
    "-f",
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    help="How it is shown.  [default: text; json with --json]",
)
def command(invocation: Invocation, folder: Path | None, form: str | None) -> int:
    form = format_named(invocation, form, "text")
    with opened(invocation, folder) as archive:
        numbers = archive.statistics()
        root = archive.layout.root
    if form == "json":
        invocation.emit(_as_json(root, numbers))
    else:
        _show(root, numbers)
    return ExitCode.OK


def _as_json(root: Path, numbers: Statistics) -> dict[str, Any]:
    return {"archive": str(root), **asdict(numbers)}


def _show(root: Path, numbers: Statistics) -> None:
    lines = {
        "Archive": str(root),
        "Patients": f"{numbers.patients:,}",
        "Studies": f"{numbers.studies:,}",
        "Series": f"{numbers.series:,}",
        "Instances": f"{numbers.instances:,}",
        "Size": size(numbers.bytes),
    }
    if numbers.oldest_study_date:
        dates = (numbers.oldest_study_date, numbers.newest_study_date)
        lines["Study dates"] = " to ".join(map(shown_date, dict.fromkeys(dates)))
    if numbers.first_study_ms is not None and numbers.last_study_ms is not None:
        times = (shown_time(numbers.first_study_ms), shown_time(numbers.last_study_ms))
        lines["Archived"] = " to ".join(dict.fromkeys(times))
    for label, text in lines.items():
        click.echo(f"{f'{label}:':<13}{text}")
    _amounts("MODALITY", numbers.by_modality)
    _amounts("YEAR", numbers.by_year)
    attention = {
        words: getattr(numbers, name) for name, words in _ATTENTION.items() if getattr(numbers, name)
    }
    if attention:
        click.echo()
    for words, count in attention.items():
        click.echo(f"{count:,} {words.format(s='' if count == 1 else 's')}")


def _amounts(heading: str, amounts: Mapping[str, Amount]) -> None:
    if not amounts:
        return
    click.echo()
    table = TableWriter([Column("", "name", heading), *_AMOUNTS], width=terminal_width())
    for name, amount in amounts.items():
        table.write({"name": name or "(none)", **asdict(amount)})
    table.close()
