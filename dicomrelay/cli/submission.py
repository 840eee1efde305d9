"""Hands files to the spool as one job, and follows the job in the ledger."""

from __future__ import annotations

import hashlib
import mmap
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from dicomrelay.cli.files import DicomFile, Passed
from dicomrelay.cli.progress import Progress
from dicomrelay.cli.summary import Outcome, Result
from dicomrelay.delivery.reasons import parted
from dicomrelay.dicom.scan import Header
from dicomrelay.errors import SpoolError
from dicomrelay.ledger import Ledger
from dicomrelay.ledger.values import DeliveryState, JobInstance, JobProgress, Verdict
from dicomrelay.settings import Settings
from dicomrelay.spool import Provenance, Spool

_CHUNK_BYTES: Final = 1 << 20
_POLL_S: Final = 0.25
_ATTEMPTS: Final = 3
_LONG_MS: Final = 30_000
_ARCHIVE_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class Sender:
    """Whose job it is and where it goes; `send_to` empty: by the rules."""

    spool: Spool
    settings: Settings
    job_id: str
    calling_ae_title: str
    send_to: tuple[str, ...]

    def provenance(self) -> Provenance:
        """Where an instance comes from: a person, now."""
        return Provenance(
            calling_ae_title=self.calling_ae_title,
            called_ae_title=self.settings.gateway.ae_title,
            peer_address="",
            association_id="",
            received_at_ms=time.time_ns() // 1_000_000,
            job_id=self.job_id,
        )


@dataclass(slots=True)
class Submitted:
    """How many files are in the spool, and those that could not be, with the reason."""

    submitted: int = 0
    failed: list[Passed] = field(default_factory=list)


def submit(
    files: Sequence[DicomFile],
    sender: Sender,
    *,
    threads: int,
    interrupted: threading.Event,
    progress: Callable[[int], None],
) -> Submitted:
    """Make every file durable in the spool, until all are or `interrupted` is set.

    Parameters
    ----------
    threads : int
        Files at once: their flushes are shared.
    progress : callable
        Told how many are done.
    """
    done = Submitted()
    counted = threading.Lock()

    def one(file: DicomFile) -> None:
        if interrupted.is_set():
            return
        problem = _take(file, sender)
        with counted:
            if problem:
                done.failed.append(problem)
            else:
                done.submitted += 1
            progress(done.submitted)

    with ThreadPoolExecutor(max_workers=threads, thread_name_prefix="submit") as pool:
        for future in [pool.submit(one, file) for file in files]:
            future.result()
    return done


def _take(file: DicomFile, sender: Sender) -> Passed | None:
    header = Header(
        sop_class_uid=file.sop_class_uid,
        sop_instance_uid=file.sop_instance_uid,
        study_instance_uid=file.study_instance_uid,
        series_instance_uid=file.series_instance_uid,
        modality=file.modality,
    )
    try:
        if sender.settings.send.files == "reference":
            sender.spool.add_reference(
                file.path.absolute(),
                header=header,
                transfer_syntax_uid=file.transfer_syntax_uid,
                data_set_offset=file.data_set_offset,
                data_set_bytes=file.data_set_bytes,
                digest=_digest(file),
                provenance=sender.provenance(),
                send_to=sender.send_to,
            )
        else:
            _copy(file, sender, header)
    except SpoolError as error:
        return Passed(file.path, f"was not submitted: {error}", fault=True)
    except (OSError, ValueError) as error:
        return Passed(file.path, f"changed or went away while it was read: {error}", fault=True)
    return None


def _copy(file: DicomFile, sender: Sender, header: Header) -> None:
    writer = sender.spool.writer(
        sop_class_uid=file.sop_class_uid,
        sop_instance_uid=file.sop_instance_uid,
        transfer_syntax_uid=file.transfer_syntax_uid,
        provenance=sender.provenance(),
        send_to=sender.send_to,
    )
    try:
        with (
            file.path.open("rb") as source,
            mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            end = file.data_set_offset + file.data_set_bytes
            if len(content) != end:
                raise ValueError(f"it had {end} bytes and has {len(content)}")
            with memoryview(content) as view:
                for start in range(file.data_set_offset, end, _CHUNK_BYTES):
                    with view[start : min(start + _CHUNK_BYTES, end)] as chunk:
                        writer.write([chunk])
            if (
                file.data_set_bytes % 2
            ):  # a deflated one: on the wire it has a NUL behind it (PS3.5 Annex A.5)
                writer.write([memoryview(b"\0")])
        writer.commit(header)
    except BaseException:
        writer.abandon()
        raise


def _digest(file: DicomFile) -> str:
    with file.path.open("rb") as source:
        source.seek(file.data_set_offset)
        return hashlib.file_digest(source, "sha256").hexdigest()


def follow(
    ledger: Ledger,
    job_id: str,
    *,
    progress: Progress,
    interrupted: threading.Event,
    gone: Callable[[], str] = lambda: "",
) -> tuple[JobProgress, str]:
    """Watch a job until nothing more will happen to it for a while, or until interrupted.

    Parameters
    ----------
    gone : callable
        Why nobody works on it any more, "" while somebody does.

    Returns
    -------
    JobProgress, str
        How far it is, and what `gone` said if that ended it.
    """
    while True:
        now = ledger.job_progress(job_id)
        _show(now, progress)
        reason = "" if now.finished else gone()
        if now.finished or reason or is_stalled(now) or interrupted.wait(_POLL_S):
            if not reason:
                _await_archive(ledger, job_id, interrupted, gone)
            last = ledger.job_progress(job_id, with_instances=True)
            _show(last, progress)
            return last, reason


def is_stalled(now: JobProgress) -> bool:
    """Whether all that is left is held, or waits for destinations that several attempts did not reach, or for a late one."""
    grouped = now.registered >= now.expected
    return (
        grouped
        and bool(now.waiting or now.held)
        and now.active == 0
        and all(row.attempts >= _ATTEMPTS or row.due_in_ms > _LONG_MS for row in now.waiting)
    )


def _show(now: JobProgress, progress: Progress) -> None:
    total = sum(
        row.pending + row.delivered + row.failed + row.refused + row.gave_up + row.held + row.cancelled
        for row in now.destinations
    )
    waiting = sum(row.instances for row in now.waiting)
    notes = [f"{now.registered} of {now.expected} grouped"] if now.registered < now.expected else []
    notes += [f"{now.archived} archived"] if now.archived else []
    notes += [f"{waiting} to be tried again"] if waiting else []
    notes += [f"{now.held} held"] if now.held else []
    set_aside = now.verdicts.get(Verdict.CONFLICT, 0)
    notes += [f"{now.failed - set_aside} failed"] if now.failed > set_aside else []
    notes += [f"{set_aside} instances set aside"] if set_aside else []
    floor = now.expected if now.registered < now.expected else 0
    progress.show(now.delivered, total=max(total, floor), note=", ".join(notes))


def _await_archive(
    ledger: Ledger, job_id: str, interrupted: threading.Event, gone: Callable[[], str]
) -> None:
    """The archive works beside the deliveries; give it a moment, so that its refusals are in the account."""
    deadline = time.monotonic() + _ARCHIVE_S
    while time.monotonic() < deadline and not interrupted.is_set() and not gone():
        now = ledger.job_progress(job_id)
        missing = sum(study.instances for study in now.studies) - now.archived
        # The rows of all instances are asked for only where something is missing.
        if missing <= 0 or missing <= _archive_problems(ledger, job_id):
            return
        interrupted.wait(_POLL_S)


def _archive_problems(ledger: Ledger, job_id: str) -> int:
    rows = ledger.job_progress(job_id, with_instances=True).instances
    return sum(bool(row.archive_problem) for row in rows)


def results(progress: JobProgress) -> list[Result]:
    """What became of each instance of a job."""
    return [_result(row) for row in progress.instances]


def _result(row: JobInstance) -> Result:
    state, reason = row.state.value if row.state else "archived", row.reason
    outcome = Outcome.DELIVERED if row.state is None or row.state.is_delivered else Outcome.FAILED
    if row.verdict is Verdict.CONFLICT or row.set_aside:
        state, outcome = "set aside", Outcome.FAILED
        reason = "other bytes came first under the same SOP Instance UID; these are kept in spool/aside"
    elif row.gave_up:
        state = "gave up"
    elif row.held:
        state, outcome = "held", Outcome.WAITING
        reason = "somebody held it: `dicomrelay jobs release` lets it go"
    elif row.state is DeliveryState.CANCELLED:
        reason = "somebody cancelled it: `dicomrelay jobs replay` sends it after all"
    elif row.state in (DeliveryState.PENDING, DeliveryState.FAILED):
        state, outcome = "waiting", Outcome.WAITING
    elif outcome is Outcome.DELIVERED and row.archive_problem:
        state, outcome = f"{state}, not archived", Outcome.FAILED
        reason = f"the archive did not take it: {row.archive_problem}"
    words, comment = parted(reason)
    return Result(
        sop_instance_uid=row.sop_instance_uid,
        study_instance_uid=row.study_instance_uid,
        destination=row.destination,
        state=state,
        outcome=outcome,
        status=row.status,
        reason=words,
        comment=comment,
        bytes=row.bytes,
        seconds=row.duration_ms / 1000,
    )
