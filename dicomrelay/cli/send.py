"""`dicomrelay send`."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from dicomrelay.cli.audited import Audited
from dicomrelay.cli.files import DicomFile, Passed, scan
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.cli.progress import Progress
from dicomrelay.cli.send_options import DIRECT_ONLY, split
from dicomrelay.cli.session_log import log_to_file
from dicomrelay.cli.signals import stop_on_signals
from dicomrelay.cli.summary import Session, new_session_id
from dicomrelay.errors import ConfigurationError
from dicomrelay.routing.destinations import resolve
from dicomrelay.runtime import home
from dicomrelay.text import size

_RETRIES: Final = 2


@relay_command(
    about="Submit DICOM files and folders to the queue, and follow them until they have arrived. "
    "Without a destination the rules of the settings decide.",
    examples="dicomrelay send scans/ -r --to pacs\n"
    "dicomrelay send image.dcm PACS@10.0.0.9:104\n"
    "dicomrelay send -i scans/ -r -a PACS -H 10.0.0.9 -p 104 -c WORKSTATION -t 8\n"
    "dicomrelay send scans/ -r --to pacs --no-wait\n"
    "dicomrelay send scans/ -r PACS@10.0.0.9:104 --direct\n"
    "dicomrelay send scans/ -r --to pacs --direct -t 8 --retries 5 --json",
    audited=Audited("send", {"name": "destination"}),
)
@click.argument("paths", nargs=-1)
@click.option("-i", "--input", "inputs", multiple=True, help="File or folder; may be repeated.")
@click.option("-r", "--recursive", is_flag=True, help="Folders in folders too.")
@click.option("--to", "name", help="Name of a destination in the settings.")
@click.option("-a", "--ae-title", help="Called AE title, with --host and --port.")
@click.option("-H", "--host", help="Host of the destination.")
@click.option("-p", "--port", type=click.IntRange(1, 65535), help="Port of the destination.")
@click.option("-c", "--calling-ae", help="Calling AE title.  [default: gateway.ae_title]")
@click.option(
    "-t",
    "--threads",
    type=click.IntRange(1, 64),
    default=4,
    show_default=True,
    help="Files, or with --direct studies, at once.",
)
@click.option("--no-wait", is_flag=True, help="Return once submitted, with the job's id.")
@click.option("--direct", is_flag=True, help="Send from this process, without broker and spool.")
@click.option(
    "--retries",
    type=click.IntRange(0, 100),
    help="With --direct: how many more times to try what may succeed later, after 1 s, 2 s, 4 s and so on.  [default: 2]",
)
@click.option(
    "--window",
    type=click.IntRange(1, 64),
    help="With --direct: instances on their way at once on an association, where the peer grants it.  "
    "[default: asynchronous_operations of the destination]",
)
@click.option(
    "--transcode/--no-transcode",
    default=None,
    help="With --direct: where the peer refuses the transfer syntax of a file, send a copy changed without loss, or not.  "
    "[default: transfer_syntax_policy of the destination]",
)
def command(invocation: Invocation, /, **options: Any) -> int:
    settings = invocation.settings
    paths, destination = split(options, settings)
    home.prepare(settings)
    session = Session(
        new_session_id(),
        configuration={
            "inputs": [str(path) for path in paths],
            "destination": destination or "by rules",
            "calling_ae_title": options["calling_ae"] or settings.gateway.ae_title,
            **{key: options[key] for key in ("recursive", "threads", "direct", "no_wait")},
            **{key: options[key] for key in DIRECT_ONLY if options[key] is not None},
        },
    )
    log_file = log_to_file(settings, f"send_{session.id}")
    invocation.say(f"session {session.id}, log {log_file}")
    interrupted = stop_on_signals()
    files = _scan(session, paths, interrupted, recursive=options["recursive"])
    if interrupted.is_set():
        session.ending = "interrupted"
        return _report(invocation, session)
    if not files and not session.faults:
        hint = (
            ""
            if options["recursive"] or not any(path.is_dir() for path in paths)
            else " (--recursive looks deeper)"
        )
        raise ConfigurationError(f"nothing to send: no DICOM file in {', '.join(map(str, paths))}{hint}")
    if not files:
        return _report(invocation, session)
    if options["direct"]:
        _send_directly(session, files, invocation, destination, options, interrupted)
    else:
        from dicomrelay.cli import queued  # noqa: PLC0415 - ledger and queue only where they are needed

        if destination:
            known = resolve(destination, settings.destinations)
            session.configuration = {**session.configuration, **known.in_force()}
        order = queued.Order(destination, options["threads"], wait=not options["no_wait"])
        queued.send(session, files, settings, order, interrupted)
    return _report(invocation, session)


def _scan(
    session: Session, paths: Sequence[Path], interrupted: threading.Event, *, recursive: bool
) -> list[DicomFile]:
    log = logging.getLogger("dicomrelay.send")
    files: list[DicomFile] = []
    began_at = time.monotonic()
    with Progress("looking for DICOM") as progress:
        for found in scan(paths, recursive=recursive):
            if isinstance(found, Passed):
                session.passed.append(found)
                # A file may be named after a patient: the summary has its path, the log has not.
                log.log(
                    logging.WARNING if found.fault else logging.DEBUG,
                    "a file is passed over: %s",
                    found.reason,
                )
            else:
                files.append(found)
            progress.show(len(files))
            if interrupted.is_set():
                break
    session.scan_seconds = time.monotonic() - began_at
    session.files = len(files)
    session.bytes = sum(file.data_set_bytes for file in files)
    log.info(
        "found %d instances of %d bytes in %.1f s, %d files passed over",
        session.files,
        session.bytes,
        session.scan_seconds,
        len(session.passed),
    )
    return files


def _send_directly(
    session: Session,
    files: list[DicomFile],
    invocation: Invocation,
    destination: str,
    options: Mapping[str, Any],
    interrupted: threading.Event,
) -> None:
    from dicomrelay.cli import direct, targets  # noqa: PLC0415 - only where it runs
    from workers.pace import Pace  # noqa: PLC0415

    target, known = targets.find_target(
        destination,
        invocation.settings,
        calling_ae_title=options["calling_ae"],
        window=options["window"],
        transcode=options["transcode"],
    )
    retries = _RETRIES if options["retries"] is None else options["retries"]
    session.configuration = {**session.configuration, "retries": retries, **targets.in_force(target, known)}
    limit = known.max_bytes_per_s
    order = direct.Order(
        target,
        known.name,
        threads=options["threads"],
        retries=retries,
        pace=lambda: Pace(limit, moved=_nothing) if limit else None,
    )
    with Progress("sent", len(files)) as progress:
        session.results, session.unreachable = direct.send_directly(
            files,
            order,
            interrupted=interrupted,
            progress=lambda done, data_bytes: progress.show(done, data_bytes=data_bytes),
        )
    session.ending = "interrupted" if interrupted.is_set() else "finished"


def _nothing() -> None:
    """Nobody waits to hear that something moved."""


def _report(invocation: Invocation, session: Session) -> int:
    session.ended = datetime.now(UTC)
    summary = session.write(invocation.settings.path("logs"))
    counts = session.account()["instances"]
    logging.getLogger("dicomrelay.send").info("%s: %s", session.ending, counts)
    if invocation.as_json:
        for piece in session.text():
            click.echo(piece, nl=False)
    elif session.ending == "submitted":
        click.echo(session.id)
    for line in _words(session, verbose=invocation.verbose):
        invocation.say(line)
    invocation.say(f"summary {summary}")
    return session.exit_code


def _words(session: Session, *, verbose: bool) -> list[str]:
    if session.ending == "submitted":
        faults = [f"  {passed.path}: {passed.reason}" for passed in session.faults]
        return [
            f"submitted {session.submitted} instances ({size(session.bytes)}) as job {session.id}",
            *faults,
        ]
    lines = session.lines(verbose=verbose)
    is_open = session.submitted and (session.ending == "interrupted" or session.waiting or session.relay_gone)
    if session.unreachable:
        lines.append(session.unreachable)
    if session.ending == "interrupted":
        lines.append("interrupted")
    if is_open and session.relay_gone:
        lines.append(
            f"{session.relay_gone}: what was submitted is in the spool, and goes on when it is started again"
        )
    elif is_open:
        lines.append("the relay goes on trying what was submitted: see `dicomrelay status`")
    return lines
