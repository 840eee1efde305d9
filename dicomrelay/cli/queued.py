"""`dicomrelay send` by the queue: spool, job, wake-up, and the way to the end."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, replace

from dicomrelay.cli import submission
from dicomrelay.cli.files import DicomFile
from dicomrelay.cli.progress import Progress
from dicomrelay.cli.relay_watch import RelayWatch
from dicomrelay.cli.summary import Session
from dicomrelay.errors import ServiceUnavailable
from dicomrelay.ledger import Ledger
from dicomrelay.log import get_logger
from dicomrelay.runtime import home
from dicomrelay.runtime.queue import Task, WakeUps
from dicomrelay.settings import Settings, TransferSyntaxPolicy
from dicomrelay.spool import Spool

_log = get_logger("dicomrelay.send")


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked for; `destination` "" leaves it to the rules."""

    destination: str
    threads: int
    wait: bool


def send(
    session: Session, files: list[DicomFile], settings: Settings, order: Order, interrupted: threading.Event
) -> None:
    """Submit the files as one job and follow it.

    Raises
    ------
    ServiceUnavailable
        No broker, so nothing runs here; nothing was submitted.
    """
    wake_ups = WakeUps(settings)
    _require_broker(wake_ups, settings)
    ledger = Ledger.open(home.ledger_url(settings))
    try:
        ledger.create_job(session.id, kind="send", expected=len(files))
        submitted = _submit(session, files, settings, order, interrupted)
        session.submitted = submitted
        if submitted < len(files):
            ledger.create_job(session.id, kind="send", expected=submitted)
        _wake(wake_ups)
        if order.wait or interrupted.is_set():
            _follow(session, ledger, interrupted, RelayWatch(settings, wake_ups))
            _name_files(session, files, settings)
        else:
            session.ending = "submitted"
    finally:
        ledger.dispose()


def _wake(wake_ups: WakeUps) -> None:
    try:
        wake_ups.send(Task.GROUP)
    except ServiceUnavailable as error:  # all is in the spool by now: the sweeper finds it
        _log.warning("not woken, the sweeper will", reason=str(error))


def _follow(session: Session, ledger: Ledger, interrupted: threading.Event, watch: RelayWatch) -> None:
    with Progress("deliveries made") as progress:
        followed, gone = submission.follow(
            ledger, session.id, progress=progress, interrupted=interrupted, gone=watch.gone
        )
    session.results = submission.results(followed)
    session.unregistered = max(0, followed.expected - followed.registered)
    if not followed.finished:
        session.relay_gone = gone or watch.gone_now()
    if interrupted.is_set():
        session.ending = "interrupted"
    elif session.relay_gone:
        session.ending = "relay gone"
    elif not followed.finished:
        session.ending = "waiting"


def _name_files(session: Session, files: list[DicomFile], settings: Settings) -> None:
    """The ledger knows UIDs and no files. Where two files have one UID, neither can be meant alone."""
    copied = {
        each.name
        for each in settings.destinations
        if each.transfer_syntax_policy is TransferSyntaxPolicy.LOSSLESS
    }
    times = Counter(file.sop_instance_uid for file in files)
    by_uid = {file.sop_instance_uid: file for file in files if times[file.sop_instance_uid] == 1}
    for number, result in enumerate(session.results):
        file = by_uid.get(result.sop_instance_uid)
        if file is not None:
            # Where a copy may have been made, what was sent is not known here.
            sent = "" if result.destination in copied or result.status is None else file.transfer_syntax_uid
            session.results[number] = replace(result, path=str(file.path), transfer_syntax_uid=sent)


def _require_broker(wake_ups: WakeUps, settings: Settings) -> None:
    try:
        wake_ups.depths()
    except ServiceUnavailable as error:
        raise ServiceUnavailable(
            f"{error}: start `dicomrelay up --home {settings.home}` first, or send with --direct"
        ) from error


def _submit(
    session: Session, files: list[DicomFile], settings: Settings, order: Order, interrupted: threading.Event
) -> int:
    """How many are in the spool."""
    with (
        Progress("submitted", len(files)) as progress,
        closing(Spool(settings.path("spool"), min_free_bytes=settings.gateway.min_free_bytes)) as spool,
    ):
        done = submission.submit(
            files,
            submission.Sender(
                spool=spool,
                settings=settings,
                job_id=session.id,
                calling_ae_title=str(session.configuration["calling_ae_title"]),
                send_to=(order.destination,) if order.destination else (),
            ),
            threads=order.threads,
            interrupted=interrupted,
            progress=progress.show,
        )
    session.passed += done.failed
    return done.submitted
