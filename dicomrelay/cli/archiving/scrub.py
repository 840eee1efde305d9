"""`dicomrelay archive scrub`."""

from __future__ import annotations

import os
import socket
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click

from archive import Archive
from archive.scrub import Found, Position, Rate, Scrub, position_of
from dicomrelay.cli.archiving.dates import shown_time
from dicomrelay.cli.archiving.opening import archive_option, opened
from dicomrelay.cli.archiving.words import many
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.cli.progress import Progress
from dicomrelay.cli.signals import stop_on_signals
from dicomrelay.errors import ConfigurationError, ExitCode, ServiceUnavailable
from dicomrelay.text import size

# A round is due at once, and is as fast as the disk when no rate says otherwise.
_AT_ONCE_DAYS: Final = 1e-9
_MB: Final = 1_000_000
_KEPT: Final = 1000


@relay_command(
    about="Read every file of the archive once, and hold it against its digest: a round of the scrub, which the scheduler "
    "of the relay goes through again and again. Goes on where the last one ended when it was not over. What is "
    "damaged is listed, and by `dicomrelay archive check --damaged` later. Exit code 4 when something is damaged.",
    examples="dicomrelay archive scrub\n"
    "dicomrelay archive scrub --archive /data/archive --rate 50\n"
    "dicomrelay archive scrub --status --json",
)
@archive_option
@click.option(
    "--rate",
    type=click.FloatRange(0.01),
    metavar="MB/S",
    help="Megabytes a second at most.  [default: as fast as it goes]",
)
@click.option("--status", "only_status", is_flag=True, help="Say how far it is, and read nothing.")
def command(invocation: Invocation, folder: Path | None, rate: float | None, only_status: bool) -> int:
    if only_status and rate is not None:
        raise ConfigurationError("--status reads nothing: it takes no --rate")
    with opened(invocation, folder) as archive:
        if only_status:
            return _status(invocation, archive)
        return _round(invocation, archive, None if rate is None else round(rate * _MB))


def _status(invocation: Invocation, archive: Archive) -> int:
    position, (total, _) = position_of(archive.health), archive.health.totals()
    damaged = sum(1 for _ in archive.health.damaged())
    if invocation.as_json:
        invocation.emit({**asdict(position), "instances": total, "damaged_now": damaged})
    else:
        click.echo(_words(position, total))
        click.echo(f"damaged now: {damaged}")
    return ExitCode.INTEGRITY if damaged else ExitCode.OK


def _words(position: Position, total: int) -> str:
    if not position.began_ms:
        return f"no file has been looked at yet; the archive has {many(total, 'instance')}"
    begun = f"round {position.round}, begun {shown_time(position.began_ms)}"
    looked = f"{many(position.files, 'file')} ({size(position.bytes)}) read"
    if position.ended_ms:
        return f"{begun}, ended {shown_time(position.ended_ms)}: {looked}, {position.damaged} damaged"
    return f"{begun}: {looked} of {total} so far, {position.damaged} damaged"


def _round(invocation: Invocation, archive: Archive, bytes_per_s: int | None) -> int:
    stop = stop_on_signals()
    scrub = Scrub(
        archive.health,
        archive.storage,
        rate=Rate(_AT_ONCE_DAYS, bytes_per_s),
        owner=f"{socket.gethostname()}:{os.getpid()}",
        pause=stop.wait,
    )
    found: list[Found] = []
    count = 0
    with Progress("read", archive.health.totals()[0]) as progress:
        while True:
            step = scrub.step()
            if step.wait_s:
                raise _busy(step.position)
            count += len(step.found)
            found += step.found[: max(0, _KEPT - len(found))]
            _tell(invocation, step.found)
            progress.show(step.position.files, data_bytes=step.position.bytes)
            if step.is_over or stop.is_set():
                break
    return _conclude(invocation, archive, step.position, found, is_over=step.is_over, stop=stop)


def _busy(position: Position) -> ServiceUnavailable:
    return ServiceUnavailable(
        f"another process is at round {position.round} ({many(position.files, 'file')} read), most likely the scheduler of the "
        "relay: --status shows how far it is; `dicomrelay archive check --digests` reads everything now"
    )


def _tell(invocation: Invocation, found: Any) -> None:
    if invocation.as_json:
        return
    for each in found:
        click.echo(f"fault {each.damage.value}: {each.sop_instance_uid}: {each.words}")
        if invocation.verbose:
            click.echo(f"      in study {each.study_instance_uid}")


def _conclude(
    invocation: Invocation,
    archive: Archive,
    position: Position,
    found: list[Found],
    *,
    is_over: bool,
    stop: threading.Event,
) -> int:
    damaged = sum(1 for _ in archive.health.damaged())
    code = ExitCode.INTEGRITY if damaged else ExitCode.OK
    if stop.is_set() and not is_over:
        code = ExitCode.INTERRUPTED
    if invocation.as_json:
        invocation.emit(
            {
                "exit_code": int(code),
                "is_over": is_over,
                "round": position.round,
                "files": position.files,
                "bytes": position.bytes,
                "damaged_in_round": position.damaged,
                "damaged_now": damaged,
                "found": [{**asdict(each), "damage": each.damage.value} for each in found],
            }
        )
    invocation.say(
        f"{many(position.files, 'file')} read ({size(position.bytes)}) in round {position.round}"
        f"{'' if is_over else ', which is not over: run it again to go on'}; damaged now: {damaged}"
    )
    if damaged:
        invocation.say("`dicomrelay archive check --damaged` lists them, and what to do")
    return code
