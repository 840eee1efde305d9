"""C-MOVE and C-GET of peers, as operations of the engine (PS3.4 Sections C.4.2 and C.4.3)."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from dicomrelay.delivery import Answer as Sent
from dicomrelay.delivery import deliver_over
from dicomrelay.dicom.query_models import RETRIEVE_MODELS
from dicomrelay.dimse.messages import CGetRequest, CMoveRequest
from dicomrelay.log import get_logger
from dicomrelay.net.provided_operations import failure
from dicomrelay.net.service import Answer, AssociationInfo, RequestedOperation, SubOperations
from dicomrelay.runtime import home
from dicomrelay.settings import Settings
from dicomrelay.transcode import TranscodeLimits
from scp_gateway.archive_port import ArchivePort
from scp_gateway.audited import Witness, tally_of
from scp_gateway.retrieve.counting import CANNOT_SEND, Counting, RetrieveRequest
from scp_gateway.retrieve.files import RetrievedFiles
from scp_gateway.retrieve.keys import RetrieveRefused
from scp_gateway.retrieve.moving import Mover
from scp_gateway.retrieve.port import MovePort
from scp_gateway.retrieve.selecting import Selection, keys_of
from scp_gateway.retrieve.targets import MoveTarget, Targets
from scp_gateway.retrieve.turns import Turns

if TYPE_CHECKING:
    from scp_gateway.archive_port import StoredInstance

_log = get_logger("dicomrelay.gateway")

MOVE_CLASSES: Final = frozenset(model.move for model in RETRIEVE_MODELS.values())
GET_CLASSES: Final = frozenset(model.get for model in RETRIEVE_MODELS.values())
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
    studies: list[tuple[str, str]] = field(default_factory=list)

    def took(self, stored: Sequence[StoredInstance]) -> None:
        """What it is about: study and class of each instance."""
        self.instances = len(stored)
        self.studies = [(each.study_instance_uid, each.sop_class_uid) for each in stored]


class Retrieve:
    """Serves retrieves. For all threads of a listener.

    Parameters
    ----------
    port : MovePort
        What is asked of the ledger.
    clock : callable
        Monotonic, in seconds.
    witness : Witness, optional
        Tells the audit.
    """

    def __init__(
        self,
        settings: Settings,
        archive: ArchivePort,
        port: MovePort = _NO_LEDGER,
        *,
        clock: Callable[[], float] = time.monotonic,
        witness: Witness | None = None,
    ) -> None:
        self._settings = settings
        self._archive = archive
        self._port = port
        self._clock = clock
        self._witness = witness
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
            self._audited(association, journal)

    def _audited(self, association: AssociationInfo, journal: _Journal) -> None:
        if self._witness is None:
            return
        counting = journal.counting
        # Of a request that was given up, what never went counts as failed.
        failed = journal.instances
        if counting is not None:
            failed -= counting.completed + counting.warning
        tally = tally_of(journal.studies)
        self._witness.gave(association, journal.operation, journal.destination, tally, failed=failed)

    def _selection(
        self, request: RetrieveRequest, operation: RequestedOperation, journal: _Journal
    ) -> Selection:
        """What its identifier names. Raises RetrieveRefused."""
        keys = keys_of(request, operation, self._settings)
        journal.level = keys.level.value
        return Selection(self._archive, keys, self._settings.retrieve.max_instances)

    # ---- C-MOVE

    def _move(
        self, association: AssociationInfo, operation: RequestedOperation, journal: _Journal
    ) -> Generator[Answer | None, None, Answer | None]:
        request = operation.request
        if not isinstance(request, CMoveRequest):
            raise TypeError(type(request).__name__)
        selection = self._selection(request, operation, journal)
        target = self._targets.find(request.move_destination)
        journal.destination = target.name
        if not self._turns.take(target.name, target.settings.associations, 0.0):
            # It is counted, and not held: many may wait, and each would hold a hundred megabytes.
            waiting = journal.counting = Counting(request, selection.count())
            journal.instances = waiting.remaining
            if not waiting.remaining:
                return waiting.last(operation.transfer_syntax_uid)
            if not (yield from self._turn(operation, waiting, target)):
                return waiting.last(operation.transfer_syntax_uid, is_cancelled=True)
        mover = self._begun(selection, target, association, request, journal)
        if mover is None:
            return Counting(request, 0).last(operation.transfer_syntax_uid)
        try:
            yield from self._until_over(mover, operation)
        finally:
            mover.stop()
        return mover.last(operation.transfer_syntax_uid, is_cancelled=operation.is_cancelled)

    def _begun(
        self,
        selection: Selection,
        target: MoveTarget,
        association: AssociationInfo,
        request: CMoveRequest,
        journal: _Journal,
    ) -> Mover | None:
        """It is its turn: who sends it, and ends the turn; None when there is nothing to send. Raises RetrieveRefused."""
        mover: Mover | None = None
        try:
            stored = selection.read()
            journal.took(stored)
            journal.counting = counting = Counting(request, len(stored))
            if stored:
                originator = association.calling_ae_title.strip(), request.message_id
                files = RetrievedFiles(self._archive, stored, originator)
                mover = Mover(files, target, counting, self._port, over=lambda: self._turns.give(target.name))
        finally:
            if mover is None:
                self._turns.give(target.name)
        if mover is not None:
            mover.start()
        return mover

    def _turn(
        self, operation: RequestedOperation, counting: Counting, target: MoveTarget
    ) -> Generator[Answer | None, None, bool]:
        """Wait for a turn; False when the peer has cancelled meanwhile. Raises RetrieveRefused when none comes."""
        began = told = self._clock()
        while not self._turns.take(target.name, target.settings.associations, _LOOK_S):
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
        stored = self._selection(request, operation, journal).read()
        journal.took(stored)
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
