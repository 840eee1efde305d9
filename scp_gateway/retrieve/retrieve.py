"""C-MOVE and C-GET of peers, as operations of the engine (PS3.4 Sections C.4.2 and C.4.3)."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from dicomrelay.delivery import Answer as Sent
from dicomrelay.delivery import deliver_over
from dicomrelay.dicom.query_models import RETRIEVE_MODELS
from dicomrelay.dicom.status import Status
from dicomrelay.dimse.messages import CGetRequest, CMoveRequest
from dicomrelay.errors import RelayError
from dicomrelay.log import get_logger
from dicomrelay.net.provided_operations import failure
from dicomrelay.net.service import Answer, AssociationInfo, RequestedOperation, SubOperations
from dicomrelay.runtime import home
from dicomrelay.settings import Settings
from dicomrelay.transcode import TranscodeLimits
from scp_gateway.archive_port import ArchivePort
from scp_gateway.retrieve.counting import CANNOT_SEND, Counting, RetrieveRequest
from scp_gateway.retrieve.files import RetrievedFiles
from scp_gateway.retrieve.keys import RetrieveRefused, model_of, read_keys
from scp_gateway.retrieve.moving import Mover
from scp_gateway.retrieve.port import MovePort
from scp_gateway.retrieve.targets import MoveTarget, Targets
from scp_gateway.retrieve.turns import Turns

if TYPE_CHECKING:
    from scp_gateway.archive_port import StoredInstance

_log = get_logger("dicomrelay.gateway")

MOVE_CLASSES: Final = frozenset(model.move for model in RETRIEVE_MODELS.values())
GET_CLASSES: Final = frozenset(model.get for model in RETRIEVE_MODELS.values())
CANNOT_COUNT: Final = 0xA701
_NO_LEDGER: Final = MovePort()
# How long an answer is waited for before the peer is heard, and between two that tell how far it is.
_LOOK_S: Final = 0.2
_TELL_S: Final = 1.0
# From C-CANCEL to the last response, for the instance that is under way.
_CANCEL_S: Final = 5.0


@dataclass(slots=True)
class _Journal:
    """What a retrieve has come to, for its line in the log."""

    operation: str
    level: str = ""
    destination: str = ""
    instances: int = 0
    counting: Counting | None = None
    status: int | None = None
    why: str = ""


class Retrieve:
    """Serves retrieves. For all threads of a listener.

    Parameters
    ----------
    port : MovePort
        What is asked of the ledger.
    clock : callable
        Monotonic, in seconds.
    """

    def __init__(
        self,
        settings: Settings,
        archive: ArchivePort,
        port: MovePort = _NO_LEDGER,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._archive = archive
        self._port = port
        self._clock = clock
        self._targets = Targets(settings, port)
        self._turns = Turns(settings.retrieve.max_moves)

    def move(self, association: AssociationInfo, operation: RequestedOperation) -> Iterator[Answer | None]:
        """The responses to a C-MOVE, the last of them too; None gives the peer the chance to be heard."""
        journal = _Journal("move")
        return self._served(association, operation, journal, self._move(association, operation, journal))

    def get(self, association: AssociationInfo, operation: RequestedOperation) -> Iterator[Answer | None]:
        """The last response to a C-GET; its sub-operations, and what comes before, have left by then."""
        journal = _Journal("get")
        return self._served(association, operation, journal, self._get(operation, journal))

    # ---- what both have in common

    def _served(
        self,
        association: AssociationInfo,
        operation: RequestedOperation,
        journal: _Journal,
        answers: Generator[Answer | None, None, Answer | None],
    ) -> Iterator[Answer | None]:
        began = self._clock()
        try:
            try:
                last = yield from answers
            except RetrieveRefused as refused:
                journal.why = str(refused)
                last = Answer(failure(operation.request, refused.status, str(refused), refused.offending))
            if last is not None:
                journal.status = last.response.status
                yield last
        finally:
            _told(association, operation, journal, self._clock() - began)

    def _selected(
        self, request: RetrieveRequest, operation: RequestedOperation, journal: _Journal
    ) -> list[StoredInstance]:
        """What is to be sent, in order. Raises RetrieveRefused."""
        model = model_of(request.sop_class_uid)
        if model is None:
            raise RetrieveRefused(Status.SOP_CLASS_NOT_SUPPORTED, "no information model of a retrieve")
        keys = read_keys(
            model,
            operation.identifier,
            operation.transfer_syntax_uid,
            relational=self._settings.query.relational == "always",
        )
        journal.level = keys.level.value
        most = self._settings.retrieve.max_instances
        try:
            found = self._archive.select(
                patient_id=keys.patient_id,
                study_uids=keys.study_uids,
                series_uids=keys.series_uids,
                sop_instance_uids=keys.sop_instance_uids,
            )
            stored = [*islice(found, most + 1)]
        except RelayError as error:
            _log.warning("the archive cannot be asked", action="retrieve.no-archive", error=str(error))
            raise RetrieveRefused(CANNOT_COUNT, "the archive does not answer, ask again later") from None
        if len(stored) > most:
            raise RetrieveRefused(CANNOT_COUNT, f"more than {most} instances at once, ask for less")
        journal.instances = len(stored)
        return stored

    # ---- C-MOVE

    def _move(
        self, association: AssociationInfo, operation: RequestedOperation, journal: _Journal
    ) -> Generator[Answer | None, None, Answer | None]:
        request = operation.request
        if not isinstance(request, CMoveRequest):
            raise TypeError(type(request).__name__)
        stored = self._selected(request, operation, journal)
        target = self._targets.find(request.move_destination)
        journal.destination = target.name
        counting = journal.counting = Counting(request, len(stored))
        if not stored:
            return counting.last(operation.transfer_syntax_uid)
        originator = association.calling_ae_title.strip(), request.message_id
        files = RetrievedFiles(self._archive, stored, originator)
        if not (yield from self._turn(operation, counting, target)):
            return counting.last(operation.transfer_syntax_uid, is_cancelled=True)
        mover = Mover(files, target, counting, self._port, over=lambda: self._turns.give(target.name))
        mover.start()
        try:
            yield from self._until_over(mover, operation)
        finally:
            mover.stop()
        return mover.last(operation.transfer_syntax_uid, is_cancelled=operation.is_cancelled)

    def _turn(
        self, operation: RequestedOperation, counting: Counting, target: MoveTarget
    ) -> Generator[Answer | None, None, bool]:
        """Wait for a turn; False when the peer has cancelled meanwhile. Raises RetrieveRefused when none comes."""
        began = told = self._clock()
        wait_s = 0.0
        while not self._turns.take(target.name, target.settings.associations, wait_s):
            now = self._clock()
            if operation.is_cancelled:
                return False
            if now - began >= self._settings.retrieve.wait_s:
                raise RetrieveRefused(
                    CANNOT_SEND, f"too many moves to {target.name} or in all, ask again later"
                )
            if now - told >= _TELL_S:
                told = now
                yield Answer(counting.pending())
            else:
                yield None
            wait_s = _LOOK_S
        return True

    def _until_over(
        self, mover: Mover, operation: RequestedOperation
    ) -> Generator[Answer | None, None, None]:
        told = self._clock()
        give_up_at: float | None = None
        while not mover.wait(_LOOK_S):
            now = self._clock()
            if operation.is_cancelled:
                mover.stop()
                give_up_at = now + _CANCEL_S if give_up_at is None else give_up_at
                if now >= give_up_at:
                    return
            if now - told >= _TELL_S:
                told = now
                yield Answer(mover.pending())
            else:
                yield None

    # ---- C-GET

    def _get(
        self, operation: RequestedOperation, journal: _Journal
    ) -> Generator[Answer | None, None, Answer | None]:
        request, stores = operation.request, operation.stores
        if not isinstance(request, CGetRequest) or stores is None:
            raise TypeError(type(request).__name__)
        stored = self._selected(request, operation, journal)
        yield None  # a C-CANCEL that came with the request is heard
        counting = journal.counting = Counting(request, len(stored))
        files = RetrievedFiles(self._archive, stored)
        try:
            deliver_over(
                stores,
                files.instances,
                copies=home.copies_folder(self._settings),
                limits=TranscodeLimits(min_free_bytes=self._settings.gateway.min_free_bytes),
                locate=files.locate,
                answered=_Teller(operation.context_id, stores, files, counting, self._clock),
                keep_going=lambda: not operation.is_cancelled,
            )
        except Exception:
            if stores.ended is None:
                raise
            return None  # the engine knows what ended the association
        finally:
            files.close()
        return counting.last(operation.transfer_syntax_uid, is_cancelled=operation.is_cancelled)


class _Teller:
    """Counts, and tells how far it is once a second: between two sub-operations, or while one waits for its answer."""

    def __init__(
        self,
        context_id: int,
        stores: SubOperations,
        files: RetrievedFiles,
        counting: Counting,
        clock: Callable[[], float],
    ) -> None:
        self._context_id = context_id
        self._stores = stores
        self._files = files
        self._counting = counting
        self._clock = clock
        self._told = clock()

    def __call__(self, answer: Sent) -> None:
        self._counting.add(self._files.uid(answer.key), answer.outcome, answer.words)
        self._files.sent(answer.key)
        now = self._clock()
        if now - self._told >= _TELL_S and self._counting.remaining:
            self._told = now
            self._stores.tell(self._context_id, self._counting.pending())


def _told(
    association: AssociationInfo, operation: RequestedOperation, journal: _Journal, seconds: float
) -> None:
    counting = journal.counting
    _log.info(
        "retrieve",
        action="retrieve.answered" if journal.status is not None else "retrieve.abandoned",
        association_id=association.id,
        calling_ae_title=association.calling_ae_title,
        operation=journal.operation,
        sop_class_uid=operation.request.sop_class_uid,
        level=journal.level,
        destination=journal.destination,
        instances=journal.instances,
        completed=counting.completed if counting is not None else 0,
        failed=counting.failed if counting is not None else 0,
        warning=counting.warning if counting is not None else 0,
        status=None if journal.status is None else f"{journal.status:04X}",
        why=journal.why or (counting.why if counting is not None else ""),
        seconds=round(seconds, 3),
    )
