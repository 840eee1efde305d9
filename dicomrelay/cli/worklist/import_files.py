"""`dicomrelay worklist import`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click

from dicomrelay.cli.audited import Audited
from dicomrelay.cli.options import GivenPath, Invocation, relay_command
from dicomrelay.cli.worklist.opening import opened_worklist
from dicomrelay.cli.worklist.taking import refused, tell
from dicomrelay.errors import ConfigurationError, ExitCode
from dicomrelay.scheduling.worklist_change import Record, UnreadableFile
from dicomrelay.scheduling.worklist_files import SUFFIXES, Kind, read_file
from dicomrelay.scheduling.worklist_item import Fault
from dicomrelay.scheduling.worklist_taking import Taken, take


@relay_command(
    about="Put what files say into the worklist: DICOM files as wlmscpfs reads (.wl), JSON, CSV, HL7 v2 orders (ORM^O01, "
    "OMI^O23). Of a folder the files with such endings. What is at fault is told, with file, item and attribute, and the rest "
    "is taken.",
    examples="dicomrelay worklist import orders.hl7\ndicomrelay worklist import --check worklist/CT_1\n"
    "dicomrelay worklist import plan.csv --json",
    audited=Audited("worklist.import", looks=("only_check",)),
)
@click.argument(
    "paths", nargs=-1, required=True, type=GivenPath(exists=True, path_type=Path), metavar="PATH..."
)
@click.option(
    "--format",
    "kind",
    type=click.Choice([kind.value for kind in Kind]),
    help="What the files are.  [default: what they look like, or their ending]",
)
@click.option("--check", "only_check", is_flag=True, help="Say what is at fault, and change nothing.")
def command(invocation: Invocation, paths: tuple[Path, ...], kind: str | None, only_check: bool) -> int:
    files = [file for path in paths for file in _files(path)]
    if not files:
        raise ConfigurationError(f"{paths[0]}: no file that ends with {', '.join(sorted(SUFFIXES))}")
    records = _records(files, invocation.settings.worklist.station_ae_titles, Kind(kind) if kind else None)
    if only_check:
        return _check(invocation, records, len(files))
    taken = Taken()
    with opened_worklist(invocation.settings) as worklist:
        try:
            take(worklist, records, taken)
        except BaseException:
            tell(invocation, taken, files=len(files))  # what was done before is done
            raise
    return tell(invocation, taken, files=len(files))


def _check(invocation: Invocation, records: Iterator[Record], files: int) -> int:
    sound = 0
    faults: list[dict[str, object]] = []
    for record in records:
        if record.faults:
            invocation.say(refused(record.where, record.faults))
            faults.append({"where": record.where, "faults": [str(fault) for fault in record.faults]})
        else:
            sound += len(record.items) or 1
    if invocation.as_json:
        invocation.emit({"files": files, "sound": sound, "refused": faults})
    else:
        invocation.say(f"{sound} sound, {len(faults)} at fault; nothing was changed")
    return ExitCode.SOME_FAILED if faults else ExitCode.OK


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for found in sorted(path.rglob("*")):
        if found.suffix.lower() in SUFFIXES and found.is_file():
            yield found


def _records(files: list[Path], stations: dict[str, str], kind: Kind | None) -> Iterator[Record]:
    """What the files ask, each record with its file."""
    for file in files:
        try:
            records = read_file(file, stations, kind)
        except UnreadableFile as error:
            yield Record(str(file), faults=(Fault("", str(error)),))
            continue
        for record in records:
            yield replace(record, where=f"{file}, {record.where}" if record.where else str(file))
