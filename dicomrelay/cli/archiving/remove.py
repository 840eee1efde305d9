"""`dicomrelay archive remove`."""

from __future__ import annotations

import getpass
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click

from archive import Archive
from archive.removal import remove
from archive.values import Selection, StoredInstance
from dicomrelay.cli.archiving.columns import Column
from dicomrelay.cli.archiving.conflicts_list import write_rows
from dicomrelay.cli.archiving.dates import shown_time
from dicomrelay.cli.archiving.filters import asked, filter_options
from dicomrelay.cli.archiving.opening import archive_option, opened
from dicomrelay.cli.archiving.relays import undelivered, warning_of
from dicomrelay.cli.archiving.words import many
from dicomrelay.cli.audited import Audited, studies_told
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.cli.progress import Progress
from dicomrelay.errors import ConfigurationError, ExitCode, InstanceNotFound
from dicomrelay.text import size

_REMOVED: Final = (
    Column("", "removed", "REMOVED"),
    Column("", "removed_by", "BY", may_shrink=True),
    Column("", "reason", "REASON", may_shrink=True),
    Column("", "sop_instance_uid", "SOP INSTANCE UID", vr="UI"),
)


@relay_command(
    about="Take instances out of the archive for good, files and all. A tombstone stays of each: its UIDs, its digest, "
    "when, by whom and why. Something must be named; everything cannot be.",
    examples="dicomrelay archive remove --study-uid 1.2.840.113619.2.1 --reason 'sent by mistake'\n"
    "dicomrelay archive remove --sop-uid 1.2.3 --sop-uid 1.2.4 --reason 'test images' --yes\n"
    "dicomrelay archive remove --patient-id 12345 --study-date -20140101 --reason 'ten years are over' --dry-run\n"
    "dicomrelay archive remove --list",
    audited=Audited("archive.remove", looks=("dry_run", "lists")),
)
@archive_option
@filter_options()
@click.option("--reason", help="Why; it is kept with the tombstones. No patient data belongs there.")
@click.option("--yes", is_flag=True, help="Do not ask whether it is meant.")
@click.option("--dry-run", is_flag=True, help="Say how much it would be, and remove nothing.")
@click.option("--list", "lists", is_flag=True, help="List the tombstones of what was removed.")
def command(
    invocation: Invocation,
    folder: Path | None,
    reason: str | None,
    yes: bool,
    dry_run: bool,
    lists: bool,
    **options: Any,
) -> int:
    what = asked(options)
    if lists:
        if what or reason or yes or dry_run:
            raise ConfigurationError("--list shows what was removed: it takes no other option but --archive")
        with opened(invocation, folder) as archive:
            count = write_rows(_tombstones(archive), _REMOVED, as_json=invocation.as_json)
        invocation.say(f"{many(count, 'instance')} removed")
        return ExitCode.OK
    if what.is_everything:
        raise ConfigurationError(
            "say what to remove (a bare * is everything): --study-uid, --series-uid, --sop-uid, --patient-id, or any other "
            "filter; to be rid of a whole archive, delete its folder"
        )
    if not (reason and reason.strip()) and not dry_run:
        raise ConfigurationError("say why: --reason TEXT; it is kept with what is known of the instances")
    with opened(invocation, folder) as archive:
        selection = what.selection()
        count, data_bytes, studies = _amount(archive, selection)
        if not count:
            raise InstanceNotFound(f"the archive has nothing with {what}: nothing was removed")
        amount = f"{many(count, 'instance')} ({size(data_bytes)}) of {studies} {'study' if studies == 1 else 'studies'}"
        open_here = undelivered(invocation, folder, archive, selection)
        if warning := warning_of(open_here):
            invocation.say(f"warning: {warning}")
        found = {"selected": count, "bytes": data_bytes, "undelivered": open_here}
        if dry_run:
            invocation.say(f"would remove {amount}")
            return _emit(invocation, found, count, removed=0, is_dry_run=True)
        _ask(amount, is_sure=yes)
        with studies_told(invocation.settings, "deleted", "archive.remove") as told:
            removed = _remove(archive, selection, str(reason), count, told)
    invocation.say(f"{many(removed, 'instance')} removed")
    if removed < count:
        invocation.say(f"{count - removed} were changed meanwhile, and stay: run it again if they are to go")
    return _emit(invocation, found, count, removed=removed, is_dry_run=False)


def _emit(
    invocation: Invocation, found: dict[str, int | None], count: int, *, removed: int, is_dry_run: bool
) -> int:
    code = ExitCode.OK if is_dry_run or removed >= count else ExitCode.SOME_FAILED
    if invocation.as_json:
        invocation.emit({"exit_code": int(code), **found, "removed": removed, "dry_run": is_dry_run})
    return code


def _tombstones(archive: Archive) -> Iterator[dict[str, Any]]:
    for each in archive.tombstones():
        yield {**asdict(each), "removed": shown_time(each.removed_ms)}


def _amount(archive: Archive, selection: Selection) -> tuple[int, int, int]:
    """Instances, bytes and studies of a selection, which comes series by series."""
    count = data_bytes = studies = 0
    last = ""
    for stored in archive.select(selection):
        count += 1
        data_bytes += stored.file_bytes
        studies += stored.study_instance_uid != last
        last = stored.study_instance_uid
    return count, data_bytes, studies


def _ask(amount: str, *, is_sure: bool) -> None:
    if is_sure:
        return
    if not sys.stdin.isatty():
        raise ConfigurationError(f"this would remove {amount}: say --yes when it is meant")
    if not click.confirm(f"Remove {amount} for good?", err=True):
        raise click.Abort


def _remove(
    archive: Archive, selection: Selection, reason: str, count: int, told: Callable[[str, int], None]
) -> int:
    def tell(gone: Sequence[StoredInstance]) -> None:
        for each in gone:
            told(each.study_instance_uid, 1)

    with Progress("removed", count) as progress:
        return remove(
            archive,
            selection,
            reason=reason,
            by=whoever_runs_it(),
            on_progress=lambda done, data_bytes: progress.show(done, data_bytes=data_bytes),
            on_removed=tell,
        )


def whoever_runs_it() -> str:
    """User and machine, for the tombstones."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "somebody"
    return f"{user}@{socket.gethostname()}"
