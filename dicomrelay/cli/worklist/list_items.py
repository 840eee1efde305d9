"""`dicomrelay worklist list`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Final

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.cli.worklist.opening import items, opened_worklist
from dicomrelay.dimse.query_keys import build_identifier, parse_key
from dicomrelay.errors import ConfigurationError, ExitCode
from dicomrelay.scheduling.worklist import Entry
from dicomrelay.scheduling.worklist_attributes import STEPS, json_tag
from dicomrelay.scheduling.worklist_building import path_of
from dicomrelay.scheduling.worklist_item import JsonItem, values_of
from dicomrelay.scheduling.worklist_query import read_question
from dicomrelay.scheduling.worklist_status import StepStatus
from dicomrelay.text import shown

_KEYS: Final = {
    "date": "ScheduledProcedureStepStartDate",
    "modality": "Modality",
    "station": "ScheduledStationAETitle",
    "patient_id": "PatientID",
    "patient_name": "PatientName",
    "accession": "AccessionNumber",
}


@relay_command(
    about="What is scheduled, in the order of its start; without what is hidden from modalities (worklist.hidden), unless --all "
    "or --status is given. It shows names of patients.",
    examples="dicomrelay worklist list --date 20261123\ndicomrelay worklist list --modality CT --status ARRIVED\n"
    "dicomrelay worklist list --patient-name 'MUELLER*' --all --json",
)
@click.option("--date", help="YYYYMMDD, or a range such as 20261123-20261130.")
@click.option("--modality", help="Such as CT.")
@click.option("--station", help="Scheduled Station AE Title; * and ? are wildcards.")
@click.option("--patient-id", help="* and ? are wildcards.")
@click.option("--patient-name", help="Without regard to case; * and ? are wildcards.")
@click.option("--accession", help="Accession number; * and ? are wildcards.")
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice([each.value for each in StepStatus], case_sensitive=False),
    help="Only items in this state; may be given several times.",
)
@click.option("--all", "with_hidden", is_flag=True, help="Also what is over.")
@click.option(
    "--limit", type=click.IntRange(1, 1_000_000), default=200, show_default=True, help="Items at most."
)
def command(
    invocation: Invocation, /, statuses: tuple[str, ...], with_hidden: bool, limit: int, **options: str | None
) -> int:
    keys = [parse_key(f"{path_of(_KEYS[name])}={value}") for name, value in options.items() if value]
    try:
        question = read_question(build_identifier(keys))
    except ConfigurationError as error:
        raise ConfigurationError(f"worklist list: {error}") from error
    shown_statuses = {StepStatus(each) for each in statuses}
    if shown_statuses:
        hidden = [each for each in StepStatus if each not in shown_statuses]
    else:
        hidden = [] if with_hidden else [*map(StepStatus, invocation.settings.worklist.hidden)]
    with opened_worklist(invocation.settings) as worklist:
        found = worklist.find(question, hidden=hidden)
        entries = [entry for entry, _ in islice(found, limit + 1)]
    more, entries = len(entries) > limit, entries[:limit]
    if invocation.as_json:
        invocation.emit([entry_json(entry) for entry in entries])
    else:
        _show(entries)
    invocation.say(f"{items(len(entries))}{', and there are more: --limit is reached' if more else ''}")
    return ExitCode.OK


def entry_json(entry: Entry) -> dict[str, object]:
    """An item for machines, as the streamer has it."""
    return {"id": entry.id, "status": entry.status.value, "item": entry.data_set}


def _show(entries: Sequence[Entry]) -> None:
    if not entries:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("start", "status", "modality", "station", "patient ID", "patient", "accession", "procedure"):
        table.add_column(name, overflow="fold")
    for entry in entries:
        table.add_row(*(Text(shown(text)) for text in _row(entry)))
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:  # lines for grep: as wide as they are
        console.width = 10_000
    console.print(table)


def _row(entry: Entry) -> tuple[str, ...]:
    step = entry.data_set[json_tag(STEPS)]["Value"][0]

    def of(holder: JsonItem, keyword: str) -> str:
        return "\\".join(values_of(holder, keyword))

    date, time = of(step, "ScheduledProcedureStepStartDate"), of(step, "ScheduledProcedureStepStartTime")
    return (
        f"{date[:4]}-{date[4:6]}-{date[6:]} {time[:2]}:{time[2:4] or '00'}",
        entry.status.value,
        of(step, "Modality"),
        "\\".join(entry.stations),
        of(entry.data_set, "PatientID"),
        of(entry.data_set, "PatientName"),
        of(entry.data_set, "AccessionNumber"),
        of(entry.data_set, "RequestedProcedureDescription") or of(step, "ScheduledProcedureStepDescription"),
    )
