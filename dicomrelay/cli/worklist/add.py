"""`dicomrelay worklist add`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import click

from dicomrelay.cli.audited import Audited
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.cli.worklist.opening import opened_worklist
from dicomrelay.cli.worklist.taking import tell
from dicomrelay.errors import ConfigurationError
from dicomrelay.scheduling.worklist_building import record_of
from dicomrelay.scheduling.worklist_taking import Taken, take

_OPTIONS: Final = {
    "patient_id": ("PatientID", "Patient ID."),
    "patient_name": ("PatientName", "Such as 'MUELLER^HANS'."),
    "birth_date": ("PatientBirthDate", "YYYYMMDD."),
    "sex": ("PatientSex", "M, F or O."),
    "accession": ("AccessionNumber", "Accession number."),
    "procedure": ("RequestedProcedureDescription", "What is to be done, in words."),
    "procedure_id": ("RequestedProcedureID", "Of the requested procedure.  [default: the accession number]"),
    "step_id": (
        "ScheduledProcedureStepID",
        "Of the scheduled procedure step.  [default: that of the procedure]",
    ),
    "study": ("StudyInstanceUID", "Study Instance UID.  [default: made of patient and order]"),
    "modality": ("Modality", "Such as CT."),
    "station": (
        "ScheduledStationAETitle",
        "AE title of the modality.  [default: worklist.station_ae_titles]",
    ),
    "date": ("ScheduledProcedureStepStartDate", "YYYYMMDD."),
    "time": ("ScheduledProcedureStepStartTime", "HHMM."),
}


def _item_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for name, (keyword, text) in reversed(_OPTIONS.items()):
        function = click.option(f"--{name.replace('_', '-')}", keyword, metavar="TEXT", help=text)(function)
    return function


@relay_command(
    about="Add one scheduled procedure step, or replace the one with the same study, procedure ID and step ID. What has no "
    "option is given as -k KEYWORD=VALUE.",
    examples="dicomrelay worklist add --patient-id 4711 --patient-name 'MUELLER^HANS' --accession A1 --procedure 'CT HEAD' "
    "--modality CT --station CT_1 --date 20261123 --time 0830\n"
    "dicomrelay worklist add ... -k PatientWeight=82 -k RequestedProcedurePriority=STAT",
    audited=Audited("worklist.add"),
)
@_item_options
@click.option(
    "-k",
    "--key",
    "keys",
    multiple=True,
    metavar="KEYWORD=VALUE",
    help="Any other attribute; one of the step is put into its sequence.",
)
def command(invocation: Invocation, keys: tuple[str, ...], **options: str | None) -> int:
    pairs = [(keyword, value) for keyword, value in options.items() if value]
    for key in keys:
        name, equals, value = key.partition("=")
        if not equals:
            raise ConfigurationError(f"--key {name!r}: write KEYWORD=VALUE")
        pairs.append((name, value))
    record = record_of("", pairs, invocation.settings.worklist.station_ae_titles)
    taken = Taken()
    with opened_worklist(invocation.settings) as worklist:
        take(worklist, [record], taken)
    return tell(invocation, taken)
