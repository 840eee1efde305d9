"""`dicomrelay archive rebuild-index`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from archive.layout import DATA
from archive.rebuild import RebuildReport, rebuild_index
from dicomrelay.cli.archiving.opening import Place, archive_option, place_of
from dicomrelay.cli.archiving.words import many, took
from dicomrelay.cli.audited import Audited
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.cli.progress import Progress
from dicomrelay.cli.signals import cancel_on_signals
from dicomrelay.errors import ConfigurationError, ExitCode
from dicomrelay.text import shown, size

_FEW: Final = 10


@relay_command(
    about="Make the index of the archive anew from its files alone; the old one is in place until the new one is complete. "
    "Nothing else may have the archive open: stop `dicomrelay up` first. Interrupted, the next one goes on from "
    "there. Exit code 1 when there are files that cannot be in the index; they stay where they are.",
    examples="dicomrelay archive rebuild-index\n"
    "dicomrelay archive rebuild-index --archive /data/archive --workers 4\n"
    "dicomrelay archive rebuild-index --archive /data/archive --json",
    audited=Audited("archive.rebuild_index"),
)
@archive_option
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    metavar="COUNT",
    help="Processes that read files.  [default: one a core, at most 8]",
)
def command(invocation: Invocation, folder: Path | None, workers: int | None) -> int:
    place = place_of(invocation, folder)
    _refuse_where_nothing_is(place)
    stop = cancel_on_signals(say="interrupted: finishing what is under way; once more ends at once")
    with Progress("in the new index") as progress:

        def tick(now: RebuildReport) -> None:
            progress.show(now.instances, data_bytes=now.read_bytes)

        report = rebuild_index(
            place.root,
            database_url=place.database_url,
            storage=place.open_storage(),
            workers=workers,
            on_progress=tick,
            should_stop=stop,
        )
    code = _code(report)
    if invocation.as_json:
        invocation.emit(_as_json(report, code))
    _say(invocation, report)
    return code


def _refuse_where_nothing_is(place: Place) -> None:
    if not place.root.is_dir():
        raise ConfigurationError(f"{place.root}: there is no such folder: is the path right?")
    is_local = place.storage is None or place.storage.url is None
    if is_local and not place.is_there and not (place.root / DATA).is_dir():
        raise ConfigurationError(
            f"{place.root}: has no {DATA}/, so there are no files to make an index from: is it the folder of an archive?"
        )


def _code(report: RebuildReport) -> ExitCode:
    if report.stopped:
        return ExitCode.INTERRUPTED if report.stopped == "interrupted" else ExitCode.SOME_FAILED
    return ExitCode.SOME_FAILED if report.problems else ExitCode.OK


def _say(invocation: Invocation, report: RebuildReport) -> None:
    kept = report.problems if invocation.verbose else report.problems[:_FEW]
    for problem in kept:
        invocation.say(shown(f"    not in the index: {problem.key}: {problem.reason}"))
    rest = len(report.problems) + report.problems_left_out - len(kept)
    if rest > 0:
        invocation.say(f"    and {rest} more (--json lists {len(report.problems)})")
    resumed = f", {report.resumed} of them from the time before" if report.resumed else ""
    invocation.say(
        f"{many(report.instances, 'instance')} in the new index{resumed}; {size(report.read_bytes)} read in "
        f"{took(report.seconds)}"
    )
    if report.conflicts or report.tombstones:
        invocation.say(
            f"found again: {many(report.conflicts, 'conflict')}, {many(report.tombstones, 'tombstone')}"
        )
    if report.stopped:
        invocation.say(f"stopped: {report.stopped}. The old index is in place; run it again to go on")


def _as_json(report: RebuildReport, code: ExitCode) -> dict[str, Any]:
    return {
        "exit_code": int(code),
        "instances": report.instances,
        "resumed": report.resumed,
        "read_bytes": report.read_bytes,
        "conflicts": report.conflicts,
        "tombstones": report.tombstones,
        "seconds": round(report.seconds, 3),
        "stopped": report.stopped or None,
        "problems": [{"path": each.key, "reason": each.reason} for each in report.problems],
        "problems_left_out": report.problems_left_out,
    }
