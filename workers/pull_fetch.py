"""Fetches one study, or one series: asks what there is, retrieves what is missing, and looks whether it came."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from dicomrelay.dicom.query_models import STUDY_ROOT
from dicomrelay.dicom.query_status import query_status_name
from dicomrelay.dimse.identifier_buffer import IDENTIFIER_TRANSFER_SYNTAXES
from dicomrelay.errors import NoAcceptedContext, ServiceUnavailable, SpoolError
from dicomrelay.ledger.values_pulls import ClaimedStep, Fetched, Retrieval
from dicomrelay.log import get_logger
from dicomrelay.net.query_retrieve import Counts, Get, Move
from dicomrelay.net.retrieve_contexts import retrieve_contexts
from dicomrelay.routing import Destination
from workers.contacts import Contacts
from workers.draining import tell_of_arrivals
from workers.lease import LeaseKeeper
from workers.pull_ask import Asking
from workers.pull_plan import Announced, Request, Retrieved, fetched, requests, whole_request
from workers.pull_sink import SpoolReceiver
from workers.rooms import Rooms

_log = get_logger("dicomrelay.pull")
FIND_CONTEXTS: Final = ((STUDY_ROOT.find, IDENTIFIER_TRANSFER_SYNTAXES),)
_MOVE_CONTEXTS: Final = ((STUDY_ROOT.move, IDENTIFIER_TRANSFER_SYNTAXES),)
# With nothing new for so long, and nothing on its way in our spool, what is missing did not come.
SETTLE_S: Final = 5.0
# However much is on its way.
_SETTLE_AT_MOST_S: Final = 120.0
# Between two looks, at first and at most: most of it is there in a moment.
_LOOK_AGAIN_S: Final = (0.05, 0.5)
_COUNT_EVERY_S: Final = 5.0
# However much comes: a study is not fetched for longer by one request.
_MOVE_AT_MOST_S: Final = 86_400.0
# An association has room for no more storage SOP classes.
_MAX_CLASSES: Final = 127
_MOVE_DESTINATION_UNKNOWN: Final = 0xA801
_LET_IN: Final = (
    "look whether our gateway lets the source in: a [[peers]] entry with its AE title and address and the right to store; the "
    "gateway's log says whom it refused."
)


@dataclass(slots=True)
class Lease:
    """What keeps a step ours; `here` goes into the ledger with each renewal."""

    keeper: LeaseKeeper
    contacts: Contacts
    stopping: Callable[[], bool]
    here: list[int]

    def moved(self) -> None:
        """The source answered, or something came."""
        self.keeper.progress()
        self.contacts.answered()

    def stop(self) -> bool:
        """Whether to stop: the step is not ours any more, or the process ends."""
        return self.keeper.lost or self.stopping()


@dataclass(frozen=True, slots=True)
class Result:
    """What an attempt came to.

    Attributes
    ----------
    before : int
        How many were here before it.
    reason, advice : str
        Why something is missing, and what to do about it.
    """

    fetched: Fetched
    before: int
    reason: str = ""
    advice: str = ""


class Patience:
    """With a C-MOVE as long as it responds, or instances come.

    Parameters
    ----------
    silence_s : float
        Without either for so long it is over.
    counted : callable
        How many instances there are; asked every few seconds of silence.
    moved : callable
        Called when there are others than before.
    clock : callable
        Seconds, monotonic.
    """

    def __init__(
        self,
        silence_s: float,
        counted: Callable[[], int],
        moved: Callable[[], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._silence_s = silence_s
        self._counted = counted
        self._tell = moved
        self._clock = clock
        self._moved_at = self._looked_at = clock()
        self._count = counted()

    def moved(self) -> None:
        """It responded."""
        self._moved_at = self._clock()

    def is_over(self) -> bool:
        """Whether nothing moved for too long."""
        now = self._clock()
        if now - max(self._moved_at, self._looked_at) >= min(_COUNT_EVERY_S, self._silence_s / 4):
            self._looked_at = now
            count = self._counted()
            if count != self._count:
                self._count, self._moved_at = count, now
                self._tell()
        return now - self._moved_at >= self._silence_s


class NoRoom(SpoolError):
    """Our own disk is under its low-water mark: no study is begun."""


@dataclass(slots=True)
class Fetching:
    """One attempt at one step.

    Parameters
    ----------
    settle_s : float
        With nothing new for so long, what is missing did not come.
    """

    rooms: Rooms
    claimed: ClaimedStep
    source: Destination
    lease: Lease
    settle_s: float = SETTLE_S
    _retrieved: Retrieved = field(default_factory=Retrieved)

    def run(self) -> Result:
        """Fetch what is missing.

        Raises
        ------
        NoRoom
        NoAcceptedContext
            The source does not serve the retrieval.
        AssociationError
            An association died, or none came about; what came by then is here.
        ServiceUnavailable
            The ledger, or the archive's index, does not answer.
        """
        announced = self._announced()
        here = self._here(announced)
        before = here if isinstance(here, int) else len(here)
        at_first = fetched(announced, here, None)
        if at_first.proof is not None:
            return Result(at_first, before)
        if announced.is_nothing:
            return Result(at_first, before, "the source has nothing of it, or shows us nothing")
        self.rooms.ledger.pulls.counted(self.claimed.id, self.claimed.fence, at_first)
        self.lease.here[0] = before
        try:
            self.rooms.spool.check_space()
        except SpoolError as error:
            raise NoRoom(str(error)) from error
        self._retrieve(announced, here)
        here = self._settled(announced)
        self._retrieved.settled = True
        now = fetched(announced, here, self._retrieved)
        return Result(now, before, *self._why(now))

    def _announced(self) -> Announced:
        claimed = self.claimed
        peer = self.source.peer(self.rooms.settings.gateway)
        try:
            with peer.associate(FIND_CONTEXTS) as association:
                asking = Asking(association, moved=self.lease.moved, stop=self.lease.stop)
                found = asking.instances(
                    claimed.study_instance_uid, claimed.series_instance_uid, claimed.announced
                )
                self.lease.moved()
        except NoAcceptedContext:
            return Announced(None, count=claimed.announced)
        return found

    def _here(self, announced: Announced) -> set[str] | int:
        rooms, claimed = self.rooms, self.claimed
        has_archive = rooms.settings.archive.enabled
        if announced.instances is None:
            counts = rooms.ledger.pulls.count_here(
                [claimed.study_instance_uid],
                series_instance_uid=claimed.series_instance_uid,
                archived_only=has_archive,
            )
            return counts.get(claimed.study_instance_uid, 0)
        uids = list(announced.instances)
        # Without an archive what came and went on its way is not fetched again.
        here = rooms.ledger.pulls.here(uids, since_ms=claimed.since_ms if has_archive else 0)
        left = [uid for uid in uids if uid not in here]
        return here | set(rooms.archive.digests(left)) if left else here

    def _retrieve(self, announced: Announced, here: set[str] | int) -> None:
        for request in self._requests(announced, here):
            if self.lease.stop() or self._retrieved.silent:
                return
            retrieve = self._get if self.claimed.policy.retrieval is Retrieval.GET else self._move
            retrieve(request, announced)

    def _requests(self, announced: Announced, here: set[str] | int) -> Iterator[Request]:
        claimed = self.claimed
        study, series = claimed.study_instance_uid, claimed.series_instance_uid
        if announced.instances is None or not isinstance(here, set):
            yield whole_request(study, series)
            return
        yield from requests(study, series, announced.instances, here, attempt=claimed.rounds + 1)

    def _move(self, request: Request, _announced: Announced) -> None:
        gateway = self.rooms.settings.gateway
        patience = Patience(self.source.response_timeout_s, self._counted, self.lease.moved)
        peer = self.source.peer(gateway)
        # Not every source says anything before its last response: what counts is whether something comes.
        peer = replace(peer, timeouts=replace(peer.timeouts, response_s=_MOVE_AT_MOST_S))
        with peer.associate(_MOVE_CONTEXTS) as association:
            move = Move(
                association,
                STUDY_ROOT,
                request.identifier(),
                gateway.ae_title,
                stop=lambda: self.lease.stop() or patience.is_over(),
            )
            self._follow(move, patience)
        was_stopped = move.conclusion is not None and move.conclusion.stopped is not None
        self._retrieved.silent |= was_stopped and not self.lease.stop()

    def _counted(self) -> int:
        """How many instances of the study are in the ledger now."""
        claimed = self.claimed
        found = self.rooms.ledger.pulls.count_here([claimed.study_instance_uid], archived_only=False)
        return found.get(claimed.study_instance_uid, 0)

    def _get(self, request: Request, announced: Announced) -> None:
        classes = sorted(announced.sop_classes)
        contexts, roles = retrieve_contexts(STUDY_ROOT, classes if len(classes) <= _MAX_CLASSES else ())
        peer = self.source.peer(self.rooms.settings.gateway)
        association_id = ""
        try:
            with peer.associate(contexts, roles) as association:
                association_id = association.id
                receiver = SpoolReceiver(self.rooms.spool, peer, association_id, self._came)
                get = Get(association, STUDY_ROOT, request.identifier(), receiver, stop=self.lease.stop)
                try:
                    self._follow(get)
                finally:
                    self._retrieved.refused += get.refused
        finally:
            if association_id:
                self._tell_of_the_end(association_id)

    def _came(self) -> None:
        self.lease.here[0] += 1
        self.lease.moved()

    def _follow(self, operation: Move | Get, patience: Patience | None = None) -> None:
        at_first = self.lease.here[0]
        for counts in operation:
            self.lease.moved()
            if patience is not None:
                patience.moved()
            if isinstance(operation, Move):
                self.lease.here[0] = at_first + _done(counts)
        if operation.conclusion is not None:
            self.lease.moved()
            self._retrieved.add(operation.conclusion)

    def _tell_of_the_end(self, association_id: str) -> None:
        """To the group worker, as the gateway does: there is something, and nothing more comes by that association."""
        try:
            tell_of_arrivals(self.rooms, association_id)
        except ServiceUnavailable as error:
            _log.warning("not told of what came, it is looked for", reason=str(error))

    def _settled(self, announced: Announced) -> set[str] | int:
        """What is here once all of it is, or nothing more comes."""
        here = self._here(announced)
        began = quiet_since = time.monotonic()
        wait_s, longest_s = _LOOK_AGAIN_S
        nothing_comes = _MOVE_DESTINATION_UNKNOWN in self._retrieved.failures
        while (
            fetched(announced, here, self._retrieved).proof is None
            and not self.lease.stop()
            and not nothing_comes
        ):
            now = time.monotonic()
            on_its_way = now - began < _SETTLE_AT_MOST_S and self.rooms.spool.has_arrivals()
            if now - quiet_since >= self.settle_s and not on_its_way:
                break
            self.lease.keeper.progress()
            time.sleep(wait_s)
            wait_s = min(2 * wait_s, longest_s)
            again = self._here(announced)
            if again != here:
                here, quiet_since = again, time.monotonic()
        return here

    def _why(self, now: Fetched) -> tuple[str, str]:
        """Why something is missing, in words of ours, and what to do."""
        if now.proof is not None:
            return "", ""
        retrieved = self._retrieved
        if _MOVE_DESTINATION_UNKNOWN in retrieved.failures:
            gateway = self.rooms.settings.gateway
            advice = (
                f"Let the source's administrator enter {gateway.ae_title} with this host and port {gateway.port}, then "
                f'`dicomrelay pull retry`; or set retrieve = "get". Some say so, too, when they are not let in: {_LET_IN}'
            )
            return query_status_name(_MOVE_DESTINATION_UNKNOWN), advice
        if retrieved.silent:
            return f"nothing came for {self.source.response_timeout_s:.0f} s, and no response", ""
        if retrieved.refused:
            return f"{retrieved.refused} instances were not taken: our log says why", ""
        if retrieved.failed and not retrieved.completed:
            return (
                f"the source could send none of {retrieved.failed} instances",
                f"{_LET_IN[0].upper()}{_LET_IN[1:]}",
            )
        if retrieved.failures:
            return f"the source answers: {query_status_name(retrieved.failures[-1])}", ""
        if retrieved.failed:
            return f"the source could not send {retrieved.failed} instances", ""
        return "the source says that it sent all, and not all came", ""


def _done(counts: Counts) -> int:
    return (counts.completed or 0) + (counts.warning or 0)
