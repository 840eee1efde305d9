"""One step of a pull: asks a source for the list, or fetches a study (docs/design/pulls.md)."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

from dicomrelay.dicom.query_models import Level
from dicomrelay.errors import ConfigurationError, NoAcceptedContext, RelayError, ServiceUnavailable
from dicomrelay.ledger.breaker import Contact
from dicomrelay.ledger.values import DestinationKind
from dicomrelay.ledger.values_pulls import ClaimedStep, Listed, Retrieval, StepKind
from dicomrelay.log import get_logger
from dicomrelay.routing import Address, Destination, RetryPolicy, ad_hoc, resolve
from dicomrelay.routing.pulls import check_question
from dicomrelay.runtime.queue import Task
from dicomrelay.settings.windows import parse_window
from workers.attempt import Problem, problem_of
from workers.batches import TASK_S
from workers.contacts import Contacts
from workers.lease import LEASE_MS, LeaseKeeper
from workers.pull_ask import Answer, Asking, NotAnswered, listed_unasked
from workers.pull_fetch import FIND_CONTEXTS, SETTLE_S, Fetching, Lease, NoRoom, Result
from workers.rooms import Rooms

_log = get_logger("dicomrelay.pull")
_DUE: Final = 64
# What somebody has to mend, here or there, is tried again seldom.
_BLOCKED_MS: Final = 60_000
# For a source whose own schedule is not known.
_NO_ADDRESS: Final = RetryPolicy(60.0, 600.0, 1000)
_NO_SERVICE: Final = {
    Retrieval.MOVE: Problem(
        "the source does no C-MOVE",
        'Let its administrator allow it for our AE title, or set retrieve = "get".',
        Contact.REACHED,
    ),
    Retrieval.GET: Problem(
        "the source does no C-GET",
        'Let its administrator allow it for our AE title, or set retrieve = "move".',
        Contact.REACHED,
    ),
}
_NO_QUERY: Final = Problem(
    "the source answers no C-FIND",
    "Let its administrator allow it for our AE title, or pull by Study Instance UID.",
    Contact.REACHED,
)


def closed_pulls(rooms: Rooms) -> frozenset[str]:
    """Ids of the open pulls that are outside of their time windows, by the clock on this host's wall."""
    windows = rooms.ledger.pulls.open_windows()
    return frozenset(pull_id for pull_id, texts in windows.items() if not is_open(texts))


def is_open(windows: tuple[str, ...] | list[str]) -> bool:
    """Whether one of these windows is open now; none: always."""
    now = time.localtime()
    minute = now.tm_hour * 60 + now.tm_min
    return not windows or any(parse_window(text).holds(minute) for text in windows)


def pull(rooms: Rooms, step_id: str, *, settle_s: float = SETTLE_S) -> str | None:
    """Claim a step and do it; its source, when there was something to do."""
    claimed = rooms.ledger.pulls.claim(step_id, owner=rooms.owner, lease_ms=LEASE_MS)
    if claimed is None:
        return None
    _Step(rooms, claimed, settle_s).run()
    return claimed.source


def pull_from(rooms: Rooms, step_id: str, *, for_s: float = TASK_S) -> int:
    """That step, and then what else is due for its source, until there is none or the time is over; how many.

    What is left is said to the next task.
    """
    until = time.monotonic() + for_s
    count, source = 0, pull(rooms, step_id)
    while source is not None:
        count += 1
        due = rooms.ledger.pulls.due(limit=_DUE, closed=closed_pulls(rooms))
        following = [each.id for each in due if each.source == source]
        if not following or rooms.stopping.is_set():
            break
        if time.monotonic() >= until:
            _say(rooms, following)
            break
        # One goes on here; the source's other places are for other threads.
        _say(rooms, following[1:])
        source = pull(rooms, following[0])
    return count


def _say(rooms: Rooms, step_ids: list[str]) -> None:
    try:
        for step_id in step_ids:
            rooms.wake_ups.send(Task.PULL, ids=[step_id])
    except ServiceUnavailable as error:
        _log.warning("not woken, the sweeper will", task=Task.PULL.value, reason=str(error))


def _fault_of(question: Sequence[str]) -> Problem | None:
    """Why a question cannot be asked of anybody."""
    try:
        check_question(question)
    except ConfigurationError as error:
        return Problem(str(error), "Start another pull with keys that can be asked: this one never can be.")
    return None


class _Step:
    """A step that is ours."""

    def __init__(self, rooms: Rooms, claimed: ClaimedStep, settle_s: float) -> None:
        self._rooms = rooms
        self._claimed = claimed
        self._settle_s = settle_s
        self._started = time.monotonic()
        self._retry = _NO_ADDRESS
        self._contacts: Contacts | None = None

    def run(self) -> None:
        """Do it and give it back, whatever happens."""
        claimed = self._claimed
        if not is_open(claimed.policy.windows):
            self._hand_back(Problem("outside of the time windows"), _BLOCKED_MS, counted=False)
            return
        problem: Problem | None = None
        try:
            source = self._source()
            self._retry = source.retry
            self._contacts = Contacts(
                self._rooms,
                claimed.source,
                source.breaker,
                adaptive=False,
                in_trouble=claimed.in_trouble,
            )
            if claimed.attempt > source.retry.attempts:
                self._hand_back(Problem("the attempts are used up: its runners died each time"), None)
                return
            if claimed.kind is StepKind.ASK and (fault := _fault_of(claimed.question)):
                # It says nothing of the source, and another attempt would ask the same.
                self._hand_back(fault, None)
                return
            self._do(source, self._contacts)
        except NoRoom as error:
            self._hand_back(Problem(str(error)), _BLOCKED_MS, counted=False)
        except NotAnswered as error:
            self._not_answered(str(error))
        except NoAcceptedContext:
            is_asking = claimed.kind is StepKind.ASK
            problem = _NO_QUERY if is_asking else _NO_SERVICE[claimed.policy.retrieval]
        except Exception as error:  # noqa: BLE001 - whatever it is, it is handed back and not left to its lease
            problem = problem_of(error)
        if problem is not None:
            self._failed(problem)

    def _do(self, source: Destination, contacts: Contacts) -> None:
        claimed, ledger = self._claimed, self._rooms.ledger.pulls
        here: list[int] = [0]
        is_fetching = claimed.kind is StepKind.FETCH
        with LeaseKeeper(
            lambda: ledger.renew(
                claimed.id,
                claimed.fence,
                lease_ms=LEASE_MS,
                here=here[0] if is_fetching and here[0] else None,
            ),
            patience_s=source.response_timeout_s + source.connect_timeout_s,
        ) as keeper:
            lease = Lease(keeper, contacts, self._rooms.stopping.is_set, here)
            if is_fetching:
                result = Fetching(self._rooms, claimed, source, lease, self._settle_s).run()
            else:
                answer = self._ask(source, lease)
        if lease.stop() and self._rooms.stopping.is_set():
            self._hand_back(Problem("stopped"), 0, counted=False)
        elif is_fetching:
            self._finish(result)
        else:
            self._answered(answer)

    def _ask(self, source: Destination, lease: Lease) -> Answer:
        claimed = self._claimed
        peer = source.peer(self._rooms.settings.gateway)
        try:
            with peer.associate(FIND_CONTEXTS) as association:
                asking = Asking(association, moved=lease.moved, stop=lease.stop)
                return asking.listed(
                    claimed.question,
                    level=claimed.policy.level,
                    limit=claimed.policy.limit,
                    priors=claimed.priors,
                )
        except NoAcceptedContext:
            listed = listed_unasked(claimed.question, claimed.policy.level)
            if not listed or claimed.priors is not None:
                raise
            return Answer(listed, whole=True)

    def _answered(self, answer: Answer) -> None:
        claimed, ledger = self._claimed, self._rooms.ledger.pulls
        listed = self._with_what_is_here(answer.listed)
        state = ledger.answered(claimed.id, claimed.fence, listed, truncated=not answer.whole)
        if state is not None:
            self._tell(
                "pull asked",
                state=state.value,
                listed=len(listed),
                here=sum(each.is_here for each in listed),
                whole=answer.whole,
            )

    def _with_what_is_here(self, listed: tuple[Listed, ...]) -> list[Listed]:
        """Studies of which as many instances are here as the source counts need no look at them."""
        if self._claimed.policy.level != Level.STUDY:
            return list(listed)
        has_archive = self._rooms.settings.archive.enabled
        counts = self._rooms.ledger.pulls.count_here(
            [each.study_instance_uid for each in listed], archived_only=has_archive
        )
        return [
            replace(
                each,
                is_here=bool(each.announced)
                and counts.get(each.study_instance_uid, 0) >= (each.announced or 0),
            )
            for each in listed
        ]

    def _finish(self, result: Result) -> None:
        claimed, fetched = self._claimed, result.fetched
        came = fetched.here - result.before
        rounds = 0 if came > 0 else claimed.rounds + 1
        retry_in_ms: int | None = None
        if fetched.proof is None and rounds < claimed.policy.attempts:
            retry_in_ms = self._retry_in_ms(max(1, rounds))
            if result.advice and retry_in_ms is not None:
                retry_in_ms = max(retry_in_ms, _BLOCKED_MS)
        state = self._rooms.ledger.pulls.finish(
            claimed.id,
            claimed.fence,
            fetched,
            retry_in_ms=retry_in_ms,
            rounds=rounds,
            reason=result.reason,
            advice=result.advice,
        )
        if state is not None:
            self._tell(
                "pull fetched",
                state=state.value,
                announced=fetched.announced,
                here=fetched.here,
                came=came,
                proof=fetched.proof.value if fetched.proof else "",
                reason=result.reason,
            )

    def _not_answered(self, reason: str) -> None:
        """The source is there and refuses, or fails: as a round that brought nothing."""
        if self._rooms.stopping.is_set():
            self._hand_back(Problem("stopped"), 0, counted=False)
            return
        is_last = self._claimed.attempt >= self._claimed.policy.attempts
        self._hand_back(Problem(reason), None if is_last else self._retry_in_ms(self._claimed.attempt))

    def _failed(self, problem: Problem) -> None:
        retry_in_ms = self._retry_in_ms(self._claimed.attempt)
        if problem.contact is Contact.REACHED and self._claimed.attempt >= self._claimed.policy.attempts:
            retry_in_ms = None  # it answers, and what it answers does not change
        if problem.advice and retry_in_ms is not None:
            retry_in_ms = max(retry_in_ms, _BLOCKED_MS)
        nobody_there = False
        # As for transfers: nobody is let through before the next probe, and an outage uses up no attempts.
        with suppress(RelayError):
            nobody_there = self._contacts is not None and self._contacts.ended(problem)
        self._hand_back(problem, 0 if nobody_there else retry_in_ms, counted=not nobody_there)

    def _hand_back(self, problem: Problem, retry_in_ms: int | None, *, counted: bool = True) -> None:
        claimed = self._claimed
        self._rooms.ledger.pulls.hand_back(
            claimed.id,
            claimed.fence,
            retry_in_ms=retry_in_ms,
            reason=problem.reason,
            advice=problem.advice,
            counted=counted,
        )
        self._tell("pull handed back", reason=problem.reason, again_in_ms=retry_in_ms)

    def _retry_in_ms(self, attempt: int) -> int | None:
        delay_s = self._retry.delay_s(attempt, jitter=random.random())  # noqa: S311 - spreads load, keeps no secret
        return None if delay_s is None else round(delay_s * 1000)

    def _source(self) -> Destination:
        """The settings' word where they still know the name; else the ledger's address.

        Raises
        ------
        ConfigurationError
            Nobody knows where it is.
        """
        claimed, settings = self._claimed, self._rooms.settings
        with suppress(ConfigurationError):
            return resolve(claimed.source, settings.destinations)
        address = claimed.address
        if address.kind is DestinationKind.UNKNOWN:
            raise ConfigurationError(f"nobody knows where {claimed.source} is: name it in [[destinations]]")
        return ad_hoc(str(Address(address.ae_title, address.host, address.port)))

    def _tell(self, what: str, **more: object) -> None:
        claimed = self._claimed
        _log.info(
            what,
            pull_id=claimed.pull_id,
            step_id=claimed.id,
            source=claimed.source,
            study_instance_uid=claimed.study_instance_uid,
            attempt=claimed.attempt,
            seconds=round(time.monotonic() - self._started, 3),
            **more,
        )
