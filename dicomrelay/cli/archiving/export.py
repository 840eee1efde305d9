"""`dicomrelay archive export`."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from archive import Archive
from archive.export_values import ExportedInstance, ExportOutcome, ExportProgress, ExportReport
from archive.exporting import export
from dicomrelay.cli.archiving.filters import Asked, asked, filter_options
from dicomrelay.cli.archiving.opening import archive_option, opened
from dicomrelay.cli.archiving.words import many, took
from dicomrelay.cli.audited import Audited, studies_told
from dicomrelay.cli.options import GivenPath, Invocation, relay_command
from dicomrelay.cli.outputs import refuse_own_folders
from dicomrelay.cli.progress import Progress
from dicomrelay.errors import ConfigurationError, ExitCode, InstanceNotFound
from dicomrelay.text import shown, size

_FEW: Final = 10
# What the archive itself has lost or damaged.
_FAULTS: Final = (ExportOutcome.DAMAGED, ExportOutcome.MISSING)


@relay_command(
    about="Copy instances out of the archive, each with the bytes that came and verified on the way: into a folder as "
    "PATIENT_ID/STUDY_UID/SERIES_UID/SOP_INSTANCE_UID.dcm, or into a ZIP file. May be run again: what is there is "
    "verified, and the rest follows. No file is written over.",
    examples="dicomrelay archive export --study-uid 1.2.840.113619.2.1 --output study\n"
    "dicomrelay archive export --archive /data/archive --patient-id 12345 --output patient --flatten\n"
    "dicomrelay archive export --series-uid 1.2.3 --series-uid 1.2.4 --output disc --dicomdir\n"
    "dicomrelay archive export --study-date 20240101-20240131 --modality CT --output january.zip --zip\n"
    "dicomrelay archive export --all --output everything --json",
    private=False,
    audited=Audited("archive.export"),
)
@archive_option
@click.option(
    "-o",
    "--output",
    type=GivenPath(path_type=Path),
    required=True,
    help="Folder for the files, made if need be; with --zip the ZIP file.",
)
@filter_options()
@click.option("--all", "everything", is_flag=True, help="Everything, when no filter says what.")
@click.option("--flatten", is_flag=True, help="All files in one folder.")
@click.option(
    "--dicomdir",
    is_flag=True,
    help="A file-set with a DICOMDIR, as on a disc: files are named DICOM/PA000001/ST000001/SE000001/IM000001.",
)
@click.option("--zip", "as_zip", is_flag=True, help="One ZIP file.  [default: when --output ends with .zip]")
@click.option("--overwrite", is_flag=True, help="Replace files of the same name that hold other bytes.")
def command(
    invocation: Invocation,
    folder: Path | None,
    output: Path,
    everything: bool,
    flatten: bool,
    dicomdir: bool,
    as_zip: bool,
    overwrite: bool,
    **options: Any,
) -> int:
    what = asked(options)
    if not what and not everything:
        raise ConfigurationError(
            "say what to export: --study-uid, --series-uid, --patient-id, any other filter, or --all"
        )
    if what and everything:
        raise ConfigurationError(f"--all and {what}: choose one")
    if flatten and dicomdir:
        raise ConfigurationError("--flatten and --dicomdir: choose one; a file-set has names of its own")
    refuse_own_folders(invocation.settings, output, config=invocation.config)
    as_zip = as_zip or (output.suffix.lower() == ".zip" and not output.is_dir())
    started = time.monotonic()
    with opened(invocation, folder) as archive:
        refuse_inside(archive, output)
        media = "zip" if as_zip else "file-set" if dicomdir else "folder"
        with (
            studies_told(invocation.settings, "exported", "archive.export", media) as told,
            Progress("instances") as progress,
        ):
            show = _Show(invocation, progress, told)
            report = export(
                archive,
                what.selection(),
                output,
                flatten=flatten,
                dicomdir=dicomdir,
                zip=as_zip,
                overwrite=overwrite,
                on_progress=show.tick,
            )
    if not report.selected:
        raise _nothing(what)
    return _conclude(invocation, report, time.monotonic() - started)


def refuse_inside(archive: Archive, output: Path) -> None:
    """Before anything is written: raise ConfigurationError when `--output` lies in the archive that is read."""
    root = archive.layout.root.resolve()
    if output.resolve().is_relative_to(root):
        raise ConfigurationError(f"--output {output}: lies in the archive itself: name a place outside of it")


def _nothing(what: Asked) -> InstanceNotFound:
    return InstanceNotFound(
        f"the archive has nothing with {what}: `dicomrelay archive query` shows what it has"
        if what
        else "the archive is empty: there is nothing to export"
    )


class _Show:
    """Progress, and with --verbose a line an instance."""

    def __init__(self, invocation: Invocation, progress: Progress, told: Callable[[str, int], None]) -> None:
        self._told = told
        self._invocation = invocation
        self._progress = progress

    def tick(self, now: ExportProgress) -> None:
        if self._invocation.verbose:
            self._invocation.say(_line(now.instance))
        if now.instance.outcome.is_there:
            self._told(now.instance.study_instance_uid, 1)
        self._progress.show(now.done, total=now.total, data_bytes=now.done_bytes)


def _line(instance: ExportedInstance) -> str:
    why = f": {instance.reason}" if instance.reason else ""
    return shown(f"{instance.outcome.value}: {instance.name or instance.sop_instance_uid}{why}")


def _conclude(invocation: Invocation, report: ExportReport, seconds: float) -> int:
    counts = {outcome: report.counts.get(outcome, 0) for outcome in ExportOutcome}
    code = ExitCode.OK if report.is_whole else ExitCode.SOME_FAILED
    if any(counts[outcome] for outcome in _FAULTS):
        code = ExitCode.INTEGRITY
    if invocation.as_json:
        invocation.emit(_as_json(report, counts, seconds, code))
    for instance in report.problems[:_FEW]:
        invocation.say(f"    {instance.outcome.value}: {instance.sop_instance_uid}: {shown(instance.reason)}")
    rest = sum(count for outcome, count in counts.items() if not outcome.is_there) - len(
        report.problems[:_FEW]
    )
    if rest > 0:
        invocation.say(f"    and {rest} more (--json lists {min(rest + _FEW, 1000)}, --verbose all)")
    invocation.say(_in_words(report, counts, seconds))
    if any(counts[outcome] for outcome in _FAULTS):
        invocation.say("`dicomrelay archive check` says what is wrong with the archive, and what to do")
    if counts[ExportOutcome.EXISTS]:
        invocation.say("other bytes stand under these names: name another --output, or --overwrite them")
    return code


def _in_words(report: ExportReport, counts: dict[ExportOutcome, int], seconds: float) -> str:
    words = [f"{many(counts[ExportOutcome.EXPORTED], 'instance')} exported to {report.target}"]
    words[0] += f" ({size(report.exported_bytes)} in {took(seconds)})"
    words += [
        f"{count} {outcome.value}"
        for outcome, count in counts.items()
        if count and outcome is not ExportOutcome.EXPORTED
    ]
    if report.has_dicomdir:
        words.append("with a DICOMDIR")
    if report.made_up:
        words.append(f"{many(report.made_up, 'value')} of the DICOMDIR made up, for the data sets lack them")
    return ", ".join(words)


def _as_json(
    report: ExportReport, counts: dict[ExportOutcome, int], seconds: float, code: ExitCode
) -> dict[str, Any]:
    return {
        "exit_code": int(code),
        "output": str(report.target),
        "selected": report.selected,
        **{outcome.name.lower(): count for outcome, count in counts.items()},
        "bytes": report.exported_bytes,
        "dicomdir": report.has_dicomdir,
        "made_up": report.made_up,
        "seconds": round(seconds, 3),
        "problems": [
            {
                "StudyInstanceUID": each.study_instance_uid,
                "SeriesInstanceUID": each.series_instance_uid,
                "SOPInstanceUID": each.sop_instance_uid,
                "outcome": each.outcome.value,
                "reason": each.reason,
            }
            for each in report.problems
        ],
    }
