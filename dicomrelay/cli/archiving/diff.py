"""`dicomrelay archive diff`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any, Final

import click

from archive import Archive
from archive.attributes import Level
from archive.difference import Difference, DifferenceKind
from archive.differing import diff
from dicomrelay.cli.archiving.columns import Column
from dicomrelay.cli.archiving.conflicts_list import write_rows
from dicomrelay.cli.archiving.filters import asked, filter_options
from dicomrelay.cli.archiving.opening import archive_option, opened
from dicomrelay.cli.archiving.words import LEVEL_NAMES, many
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.cli.peer import find_peer
from dicomrelay.cli.progress import Progress
from dicomrelay.errors import ConfigurationError, ExitCode
from dicomrelay.net.peer import RemotePeer

_COLUMNS: Final = (
    Column("", "difference", "DIFFERENCE"),
    Column("", "level", "LEVEL"),
    Column("", "words", "", may_shrink=True),
    Column("", "uid", "UID", vr="UI"),
)


@relay_command(
    about="Say what the archive and OTHER do not have in common: another archive by its folder, compared by the digests of "
    "both indexes; or a peer, AET@host:port or the name of a destination, asked by C-FIND down to the instances. Exit"
    " code 1 when there is a difference, or a part could not be compared.",
    examples="dicomrelay archive diff /mnt/backup/archive\n"
    "dicomrelay archive diff PACS@10.0.0.9:104 --study-date 20240101-20240131\n"
    "dicomrelay archive diff pacs --patient-id 12345 --trust-counts\n"
    "dicomrelay archive diff /mnt/backup/archive --archive /data/archive --modality CT --json",
)
@archive_option
@click.argument("other", metavar="OTHER|AET@HOST:PORT")
@filter_options()
@click.option(
    "--trust-counts",
    is_flag=True,
    help="Toward a peer: what has as many series and instances here as there is the same, and is not asked about further.",
)
@click.option("--limit", type=click.IntRange(1), metavar="COUNT", help="End after so many differences.")
@click.option("-c", "--calling-ae", help="What we call ourselves toward a peer.  [default: gateway.ae_title]")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0.1, 86_400),
    help="Seconds to wait for a response of a peer.  [default: response_timeout_s of the destination, or 60]",
)
def command(
    invocation: Invocation,
    folder: Path | None,
    other: str,
    trust_counts: bool,
    limit: int | None,
    calling_ae: str | None,
    timeout_s: float | None,
    **options: Any,
) -> int:
    what = asked(options)
    kinds: Counter[DifferenceKind] = Counter()
    with ExitStack() as stack:
        peer = _peer(invocation, other, calling_ae, timeout_s)
        if peer is None and (trust_counts or calling_ae or timeout_s):
            raise ConfigurationError(
                "--trust-counts, --calling-ae and --timeout are for a peer: an archive is compared by digests"
            )
        archive = stack.enter_context(opened(invocation, folder))
        against = peer or _other(invocation, archive, other, stack)
        progress = stack.enter_context(Progress("compared"))
        found = diff(archive, against, what.selection(), trust_counts=trust_counts, on_progress=progress.show)
        rows = _rows(islice(found, limit), kinds)
        count = write_rows(rows, _COLUMNS, as_json=invocation.as_json)
        is_more = count == limit and next(found, None) is not None
    if not count:
        invocation.say(f"no difference: the archive and {other} have the same")
        return ExitCode.OK
    words = ", ".join(f"{kinds[kind]} {kind.value}" for kind in DifferenceKind if kinds[kind])
    invocation.say(
        f"{many(count, 'difference')}: {words}{', and there are more: --limit is reached' if is_more else ''}"
    )
    return ExitCode.SOME_FAILED


def _peer(
    invocation: Invocation, text: str, calling_ae: str | None, timeout_s: float | None
) -> RemotePeer | None:
    """The peer that is meant; None when it is a folder."""
    names = {destination.name for destination in invocation.settings.destinations}
    if text not in names and ("@" not in text or Path(text).is_dir()):
        if not Path(text).exists() and "/" not in text:
            raise ConfigurationError(
                f"{text}: is no folder, no AET@host:port, and no destination of the settings; these are: "
                f"{', '.join(sorted(names)) or 'none'}"
            )
        return None
    return find_peer(invocation.settings, text, calling_ae, timeout_s)


def _other(invocation: Invocation, archive: Archive, text: str, stack: ExitStack) -> Archive:
    other = stack.enter_context(opened(invocation, Path(text)))
    if other.layout.root.resolve() == archive.layout.root.resolve():
        raise ConfigurationError(f"{text}: is the same archive: name another one")
    return other


def _rows(found: Iterator[Difference], kinds: Counter[DifferenceKind]) -> Iterator[dict[str, Any]]:
    for each in found:
        kinds[each.kind] += 1
        yield {
            "difference": each.kind.value,
            "level": LEVEL_NAMES[each.level],
            "words": _words(each),
            "uid": _uid(each),
            "StudyInstanceUID": each.study_instance_uid or None,
            "SeriesInstanceUID": each.series_instance_uid or None,
            "SOPInstanceUID": each.sop_instance_uid or None,
            "here": each.here or None,
            "there": each.there or None,
            "here_instances": each.here_instances,
            "there_instances": each.there_instances,
            "reason": each.reason or None,
        }


def _uid(each: Difference) -> str:
    if each.level is Level.STUDY:
        return each.study_instance_uid
    return each.series_instance_uid if each.level is Level.SERIES else each.sop_instance_uid


def _words(each: Difference) -> str:
    if each.reason:
        return each.reason
    counts = ((each.here_instances, "here"), (each.there_instances, "there"))
    return ", ".join(f"{many(count, 'instance')} {where}" for count, where in counts if count is not None)
