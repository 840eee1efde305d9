"""`dicomrelay archive conflicts list`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click

from archive import Archive
from dicomrelay.cli.archiving.columns import Column
from dicomrelay.cli.archiving.dates import shown_time
from dicomrelay.cli.archiving.opening import archive_option, opened
from dicomrelay.cli.archiving.table import TableWriter, terminal_width
from dicomrelay.cli.archiving.words import many
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.errors import ExitCode

CONFLICTS: Final = (
    Column("", "found", "FOUND"),
    Column("", "what", "WHAT", may_shrink=True),
    Column("Bytes", "file_bytes", "SIZE", is_right=True),
    Column("", "sop_instance_uid", "SOP INSTANCE UID", vr="UI"),
)
DISAGREEMENTS: Final = (
    Column("", "level", "LEVEL"),
    Column("", "column", "ATTRIBUTE"),
    Column("", "kept", "KEPT", may_shrink=True),
    Column("", "other", "ANOTHER SAYS", may_shrink=True),
    Column("", "uid", "UID OR PATIENT ID", vr="UI"),
)


@relay_command(
    about="List other bytes that came under a SOP Instance UID that the archive holds, the oldest first. With "
    "--disagreements: attributes of a patient, study or series of which its instances say different things; the first"
    " value is kept.",
    examples="dicomrelay archive conflicts list\n"
    "dicomrelay archive conflicts list --archive /data/archive --json\n"
    "dicomrelay archive conflicts list --disagreements",
)
@archive_option
@click.option("--disagreements", is_flag=True, help="What instances of one study say differently about it.")
def command(invocation: Invocation, folder: Path | None, disagreements: bool) -> int:
    with opened(invocation, folder) as archive:
        rows = disagreement_rows(archive) if disagreements else conflict_rows(archive)
        count = write_rows(rows, DISAGREEMENTS if disagreements else CONFLICTS, as_json=invocation.as_json)
    invocation.say(many(count, "disagreement" if disagreements else "conflict"))
    return ExitCode.OK


def conflict_rows(archive: Archive, sop_instance_uid: str = "") -> Iterator[dict[str, Any]]:
    """Conflicts as rows."""
    for each in archive.conflicts(sop_instance_uid):
        row = asdict(each)
        yield {**row, "found": shown_time(each.found_ms), "what": each.reason}


def disagreement_rows(archive: Archive, uid: str = "") -> Iterator[dict[str, Any]]:
    """Disagreements as rows."""
    for each in archive.disagreements(uid):
        yield asdict(each)


def write_rows(rows: Iterable[Mapping[str, Any]], columns: Iterable[Column], *, as_json: bool) -> int:
    """Rows as a table, or as JSON, as they come; how many it were."""
    count = 0
    if as_json:
        for row in rows:
            own = {name: value for name, value in row.items() if name not in {"found", "what", "removed"}}
            click.echo(f"{',' if count else '['}\n{json.dumps(own, indent=2)}", nl=False)
            count += 1
        click.echo("\n]" if count else "[]")
        return count
    table = TableWriter(list(columns), width=terminal_width())
    for row in rows:
        table.write(row)
        count += 1
    table.close()
    return count
