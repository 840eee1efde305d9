"""`dicomrelay send --direct`: from this process to the peer, with no broker and no spool."""

from __future__ import annotations

import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dicomrelay.cli.files import DicomFile
from dicomrelay.cli.summary import Outcome, Result
from dicomrelay.dicom import status as dimse
from dicomrelay.dicom.status import c_store_outcome, status_name
from dicomrelay.errors import AssociationError, NoAcceptedContext, RelayError
from dicomrelay.net.requestor import Association, RemoteAe, StoreItem, contexts_for

_OUTCOMES = {dimse.Outcome.DELIVERED.value: Outcome.DELIVERED, dimse.Outcome.WARNING.value: Outcome.DELIVERED}


@dataclass(frozen=True, slots=True)
class _Peer:
    remote: RemoteAe
    calling_ae_title: str
    name: str


def send_directly(
    files: Sequence[DicomFile],
    *,
    remote: RemoteAe,
    calling_ae_title: str,
    threads: int,
    interrupted: threading.Event,
    progress: Callable[[int], None],
) -> tuple[list[Result], str]:
    """Send every file by C-STORE, studies shared between threads so that none idles while another has studies left.

    Returns
    -------
    list of Result, str
        One result a file, and why not one association came about ("" when one did).
    """
    peer = _Peer(remote, calling_ae_title, f"{remote.ae_title}@{remote.host}:{remote.port}")
    studies: queue.SimpleQueue[list[DicomFile]] = queue.SimpleQueue()
    for study in _by_study(files):
        studies.put(study)
    found: list[Result] = []
    problems: list[AssociationError] = []
    counted = threading.Lock()
    answered = 0

    def note(result: Result) -> None:
        nonlocal answered
        with counted:
            found.append(result)
            answered += result.status is not None
            progress(answered)

    def work() -> None:
        while not interrupted.is_set():
            try:
                study = studies.get_nowait()
            except queue.Empty:
                return
            problem = _send_study(peer, study, note, interrupted)
            if problem:
                problems.append(problem)

    workers = [threading.Thread(target=work, name=f"send-{n}") for n in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return found, "" if answered or not problems else str(problems[0])


def _by_study(files: Sequence[DicomFile]) -> list[list[DicomFile]]:
    studies: dict[str, list[DicomFile]] = defaultdict(list)
    for file in files:
        studies[file.study_instance_uid or file.sop_instance_uid].append(file)
    return list(studies.values())


def _send_study(
    peer: _Peer, study: list[DicomFile], note: Callable[[Result], None], interrupted: threading.Event
) -> AssociationError | None:
    left = {(file.sop_class_uid, file.sop_instance_uid, str(file.path)): file for file in study}
    problem: AssociationError | None = None
    try:
        for contexts in contexts_for(_item(file) for file in study):
            ours = {(abstract, syntax) for abstract, syntaxes in contexts for syntax in syntaxes}
            with Association.request(
                peer.remote, calling_ae_title=peer.calling_ae_title, contexts=contexts
            ) as association:
                for key, file in list(left.items()):
                    if interrupted.is_set():
                        break
                    if (file.sop_class_uid, file.transfer_syntax_uid) in ours:
                        note(_send_one(peer, association, file))
                        del left[key]
    except AssociationError as error:
        problem = error
    reason = str(problem) if problem else "interrupted"
    for file in left.values():
        note(_result(peer, file, "not sent", reason=reason))
    return problem


def _send_one(peer: _Peer, association: Association, file: DicomFile) -> Result:
    started = time.monotonic()
    try:
        reply = association.store(_item(file))
    except NoAcceptedContext as error:
        return _result(peer, file, "refused", reason=str(error))
    except AssociationError:
        raise
    except (OSError, RelayError) as error:
        raise AssociationError(f"{file.path}: {error}") from error
    outcome = c_store_outcome(reply.status)
    words = "" if reply.status == 0 else " ".join(filter(None, (status_name(reply.status), reply.comment)))
    return _result(
        peer,
        file,
        outcome.value,
        status=reply.status,
        reason=words,
        seconds=round(time.monotonic() - started, 6),
    )


def _result(
    peer: _Peer,
    file: DicomFile,
    state: str,
    *,
    status: int | None = None,
    reason: str = "",
    seconds: float = 0.0,
) -> Result:
    return Result(
        sop_instance_uid=file.sop_instance_uid,
        study_instance_uid=file.study_instance_uid,
        destination=peer.name,
        state=state,
        outcome=_OUTCOMES.get(state, Outcome.FAILED),
        status=status,
        reason=reason,
        bytes=file.data_set_bytes,
        seconds=seconds,
    )


def _item(file: DicomFile) -> StoreItem:
    return StoreItem(
        sop_class_uid=file.sop_class_uid,
        sop_instance_uid=file.sop_instance_uid,
        transfer_syntax_uid=file.transfer_syntax_uid,
        path=file.path,
        data_set_offset=file.data_set_offset,
        data_set_bytes=file.data_set_bytes,
    )
