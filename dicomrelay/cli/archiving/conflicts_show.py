"""`dicomrelay archive conflicts show`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from archive import Archive
from archive.storage import LocalStorage
from archive.values import Conflict
from dicomrelay.cli.archiving.dates import shown_time
from dicomrelay.cli.archiving.filters import uid_given
from dicomrelay.cli.archiving.opening import archive_option, opened
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.errors import ExitCode, InstanceNotFound
from dicomrelay.text import shown, size


@relay_command(
    about="Show the conflicts of one instance: what the archive serves, what it does not, and where that was set aside.",
    examples="dicomrelay archive conflicts show 1.2.840.113619.2.1.3\n"
    "dicomrelay archive conflicts show 1.2.840.113619.2.1.3 --archive /data/archive --json",
)
@archive_option
@click.argument("uid", metavar="SOP_INSTANCE_UID")
def command(invocation: Invocation, folder: Path | None, uid: str) -> int:
    uid = uid_given("SOP_INSTANCE_UID", uid)
    with opened(invocation, folder) as archive:
        found = list(archive.conflicts(uid))
        if not found:
            raise InstanceNotFound(
                f"the archive lists no conflict of {uid}: `dicomrelay archive conflicts list` shows all"
            )
        held = archive.digests([uid]).get(uid)
        if invocation.as_json:
            conflicts = [_as_json(archive, each) for each in found]
            invocation.emit({"sop_instance_uid": uid, "digest": held, "conflicts": conflicts})
            return ExitCode.OK
        click.echo(f"SOP Instance UID: {uid}")
        click.echo(f"in the archive:   {held or 'nothing any more'}")
        for each in found:
            _show(archive, each)
    return ExitCode.OK


def _show(archive: Archive, conflict: Conflict) -> None:
    click.echo()
    click.echo(f"other bytes:      {conflict.digest}")
    click.echo(f"what:             {shown(conflict.reason)}")
    click.echo(f"found:            {shown_time(conflict.found_ms)}")
    click.echo(f"held then:        {conflict.kept_digest or 'bytes that no row knew'}")
    click.echo(f"size:             {size(conflict.file_bytes)}")
    click.echo(f"file:             {_file(archive, conflict) or 'none: they were not taken'}")


def _file(archive: Archive, conflict: Conflict) -> str:
    """Where the bytes are: a path, or a key where the archive's files are elsewhere; "" when they were not taken."""
    if not conflict.relative_path or not isinstance(archive.storage, LocalStorage):
        return conflict.relative_path
    return str(archive.layout.resolve(conflict.relative_path))


def _as_json(archive: Archive, conflict: Conflict) -> dict[str, Any]:
    return {
        "digest": conflict.digest,
        "kept_digest": conflict.kept_digest,
        "file": _file(archive, conflict) or None,
        "bytes": conflict.file_bytes,
        "found_ms": conflict.found_ms,
        "reason": conflict.reason,
    }
