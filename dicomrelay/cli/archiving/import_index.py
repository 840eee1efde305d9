"""`dicomrelay archive import-index`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from archive.import_batch import FileOutcome
from archive.index_import import IndexImportReport, IndexMismatch, import_index
from archive.initialising import initialise
from archive.json_index import INDEX_NAME
from archive.json_index_reader import read_index
from dicomrelay.cli.archiving.opening import archive_option, opened_at, place_of, refuse_what_is_none
from dicomrelay.cli.archiving.words import many
from dicomrelay.cli.audited import Audited
from dicomrelay.cli.options import GivenPath, Invocation, relay_command
from dicomrelay.cli.progress import Progress
from dicomrelay.errors import ConfigurationError, ExitCode
from dicomrelay.text import shown

_FEW: Final = 10


@relay_command(
    about="Take over an archive that has an archive_index.json: the files that it lists are copied into this archive, which"
    " is made when there is none. What the index says and a file does not is told, and the file is right. Exit code 1"
    " when a file is not there, or something is not so.",
    examples="dicomrelay archive import-index /old/archive/archive_index.json --archive /data/archive\n"
    "dicomrelay archive import-index index.json --root /mnt/old --archive /data/archive --json",
    audited=Audited("archive.import_index"),
)
@archive_option
@click.argument("index", metavar="INDEX", type=GivenPath(path_type=Path))
@click.option(
    "--root",
    type=GivenPath(path_type=Path),
    metavar="DIRECTORY",
    help="What the paths in the index start from.  [default: the folder of the index]",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    metavar="COUNT",
    help="Processes that read and copy.  [default: one a core, at most 8]",
)
def command(
    invocation: Invocation, folder: Path | None, index: Path, root: Path | None, workers: int | None
) -> int:
    index = index / INDEX_NAME if index.is_dir() else index
    if not index.is_file():
        raise ConfigurationError(f"{index}: there is no such file: name an {INDEX_NAME}, or its folder")
    if root is not None and not root.is_dir():
        raise ConfigurationError(f"--root {root}: there is no such folder")
    place = place_of(invocation, folder)
    if not place.is_there:
        # What is no index leaves no empty archive behind.
        with read_index(index):
            pass
        initialise(place.root, database_url=place.database_url)
    refuse_what_is_none(place)
    with opened_at(place) as archive, Progress("entries") as progress:

        def tick(done: int, total: int) -> None:
            progress.show(done, total=total)

        def tell(mismatch: IndexMismatch) -> None:
            invocation.say(_line(mismatch))

        report = import_index(
            archive,
            index,
            root,
            workers=workers,
            on_progress=tick,
            on_mismatch=tell if invocation.verbose else None,
        )
    code = ExitCode.OK if report.agrees else ExitCode.SOME_FAILED
    if invocation.as_json:
        invocation.emit(_as_json(report, code))
    _say(invocation, report)
    return code


def _line(mismatch: IndexMismatch) -> str:
    return shown(
        f"{mismatch.file_path}: {mismatch.field}: the index says {mismatch.said!r}, and it is {mismatch.found!r}"
    )


def _say(invocation: Invocation, report: IndexImportReport) -> None:
    for file in report.problems[:_FEW]:
        invocation.say(shown(f"    {file.outcome.value}: {file.path}: {file.reason}"))
    if not invocation.verbose:
        for mismatch in report.mismatches[:_FEW]:
            invocation.say(f"    {_line(mismatch)}")
        if report.mismatch_count > _FEW:
            invocation.say(f"    and {report.mismatch_count - _FEW} more (--verbose shows all)")
    counts = [f"{count} {outcome.value}" for outcome in FileOutcome if (count := report.counts[outcome])]
    counts += [f"{report.gone} not there"] if report.gone else []
    counts += [f"{report.outside} outside of the folder, refused"] if report.outside else []
    entries = "1 entry" if report.entries == 1 else f"{report.entries} entries"
    invocation.say(
        f"{entries}: {', '.join(counts) or 'none'}; {many(report.mismatch_count, 'thing')} not as the index says"
    )
    if report.said_entries not in {None, report.entries}:
        invocation.say(f"the index says that it has {report.said_entries} files, and lists {report.entries}")
    if report.stopped:
        invocation.say(f"stopped before all was done: {report.stopped}; run it again to go on")


def _as_json(report: IndexImportReport, code: ExitCode) -> dict[str, Any]:
    return {
        "exit_code": int(code),
        "entries": report.entries,
        "said_entries": report.said_entries,
        **{outcome.name.lower(): report.counts[outcome] for outcome in FileOutcome},
        "not_there": report.gone,
        "outside": report.outside,
        "stopped": report.stopped or None,
        "mismatch_count": report.mismatch_count,
        "mismatches": [
            {
                "SOPInstanceUID": each.sop_instance_uid,
                "path": each.file_path,
                "field": each.field,
                "said": each.said,
                "found": each.found,
            }
            for each in report.mismatches
        ],
        "problems": [
            {"path": str(file.path), "outcome": file.outcome.value, "reason": file.reason}
            for file in report.problems
        ],
    }
