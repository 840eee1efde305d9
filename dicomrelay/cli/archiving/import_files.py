"""`dicomrelay archive import`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from archive.import_batch import FileOutcome, ImportedFile
from archive.importing import ImportProgress, ImportReport, import_files
from dicomrelay.cli.archiving.opening import archive_option, opened
from dicomrelay.cli.archiving.words import many, took
from dicomrelay.cli.audited import Audited, studies_told
from dicomrelay.cli.options import GivenPath, Invocation, relay_command
from dicomrelay.cli.progress import Progress
from dicomrelay.cli.signals import cancel_on_signals
from dicomrelay.errors import ExitCode
from dicomrelay.text import shown, size

_FEW: Final = 10
INTERRUPTED: Final = "interrupted"
FINISHING: Final = "interrupted: finishing what is under way, for it is stored whole; once more ends at once"


@relay_command(
    about="Put files and folders into the archive: what is DICOM is copied, by its content and never by its name. What the "
    "archive has already, with the same bytes, is one copy; other bytes under the same SOP Instance UID are a "
    "conflict, which the archive's policy decides. May be interrupted and run again at any time. Exit code 1 when a "
    "file that should be in the archive is not.",
    examples="dicomrelay archive import file1.dcm file2.dcm\n"
    "dicomrelay archive import /incoming/studies/ --archive /data/archive --recursive\n"
    "dicomrelay archive import /data/new/ --recursive --skip-duplicates --verbose\n"
    "dicomrelay archive import /mnt/old --recursive --workers 8 --json",
    audited=Audited("archive.import"),
)
@archive_option
@click.argument("paths", metavar="FILES...", nargs=-1, required=True, type=GivenPath(path_type=Path))
@click.option("-r", "--recursive", is_flag=True, help="Folders in folders too.")
@click.option(
    "--skip-duplicates",
    is_flag=True,
    help="A SOP Instance UID that the archive has is no error, whatever its bytes; other bytes are listed as a conflict all the "
    "same.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    metavar="COUNT",
    help="Processes that read and copy.  [default: one a core, at most 8, where there are files enough]",
)
def command(
    invocation: Invocation,
    folder: Path | None,
    paths: tuple[Path, ...],
    recursive: bool,
    skip_duplicates: bool,
    workers: int | None,
) -> int:
    report = ImportReport()
    try:
        _import(invocation, folder, paths, report, recursive=recursive, workers=workers)
    except KeyboardInterrupt:
        # What was done is done, and told; what was under way is found by the next one.
        report.stopped = INTERRUPTED
        if invocation.as_json:
            invocation.emit(_as_json(report, ExitCode.INTERRUPTED))
        raise
    code = _code(report, skip_duplicates=skip_duplicates)
    if invocation.as_json:
        invocation.emit(_as_json(report, code))
    _say(invocation, report, paths, recursive=recursive)
    return code


def _import(
    invocation: Invocation,
    folder: Path | None,
    paths: tuple[Path, ...],
    report: ImportReport,
    *,
    recursive: bool,
    workers: int | None,
) -> None:
    stop = cancel_on_signals(say=FINISHING)
    with (
        opened(invocation, folder) as archive,
        studies_told(invocation.settings, "imported", "archive.import", "folder") as told,
        Progress("imported") as progress,
    ):

        def tick(now: ImportProgress) -> None:
            progress.show(
                now.done,
                total=now.found if now.is_counted else None,
                data_bytes=now.done_bytes,
                note="" if now.is_counted else f"{now.found} found",
            )

        def each(file: ImportedFile) -> None:
            if file.outcome in (FileOutcome.STORED, FileOutcome.REPLACED):
                told(file.study_instance_uid, 1)
            if invocation.verbose:
                invocation.say(_line(file))

        import_files(
            archive,
            paths,
            recursive=recursive,
            workers=workers,
            on_progress=tick,
            on_file=each,
            should_stop=stop,
            report=report,
        )


def _code(report: ImportReport, *, skip_duplicates: bool) -> ExitCode:
    if report.stopped == INTERRUPTED:
        return ExitCode.INTERRUPTED
    failed = len(report.problems) + report.problems_left_out
    if skip_duplicates:
        failed -= report.counts[FileOutcome.CONFLICT]
    return ExitCode.SOME_FAILED if failed > 0 or report.stopped else ExitCode.OK


def _line(file: ImportedFile) -> str:
    why = f": {file.reason}" if file.reason else ""
    return shown(f"{file.outcome.value}: {file.path}{why}")


def _say(invocation: Invocation, report: ImportReport, paths: tuple[Path, ...], *, recursive: bool) -> None:
    if not invocation.verbose:  # else each has been told
        for file in report.problems[:_FEW]:
            invocation.say(f"    {_line(file)}")
        rest = len(report.problems) + report.problems_left_out - _FEW
        if rest > 0:
            invocation.say(f"    and {rest} more (--json lists {len(report.problems)}, --verbose all)")
    counts = [f"{count} {outcome.value}" for outcome in FileOutcome if (count := report.counts[outcome])]
    if report.stored_bytes:
        counts.append(f"{size(report.stored_bytes)} new")
    invocation.say(f"{many(report.files, 'file')}: {', '.join(counts) or 'none'}; {_rate(report)}")
    if report.made_up_studies:
        invocation.say(
            f"{many(report.made_up_studies, 'file')} without a Study Instance UID: each stands in a study of its own, "
            "under a UID that is made from its SOP Instance UID (2.25.…)"
        )
    if report.counts[FileOutcome.CONFLICT]:
        invocation.say("`dicomrelay archive conflicts list` shows what has other bytes than the archive")
    if report.stopped:
        invocation.say(f"stopped before all was done: {report.stopped}; run it again to go on")
    if not recursive and not report.files and any(path.is_dir() for path in paths):
        invocation.say("folders in folders are looked at with --recursive")


def _rate(report: ImportReport) -> str:
    rate = f", {report.files / report.seconds:.0f}/s" if report.seconds >= 1 else ""
    return f"{took(report.seconds)}{rate}"


def _as_json(report: ImportReport, code: ExitCode) -> dict[str, Any]:
    return {
        "exit_code": int(code),
        "files": report.files,
        **{outcome.name.lower(): report.counts[outcome] for outcome in FileOutcome},
        "stored_bytes": report.stored_bytes,
        "made_up_studies": report.made_up_studies,
        "seconds": round(report.seconds, 3),
        "stopped": report.stopped or None,
        "problems": [
            {
                "path": str(file.path),
                "outcome": file.outcome.value,
                "reason": file.reason,
                "SOPInstanceUID": file.sop_instance_uid or None,
            }
            for file in report.problems
        ],
        "problems_left_out": report.problems_left_out,
    }
