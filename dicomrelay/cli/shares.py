"""Who sends what next: the work of `send --direct`, shared between threads (docs/design/sender-and-receiver.md).

No thread, no socket and no clock here: the caller says what time it is, and holds a lock around every call.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

MIN_SHARE_WEIGHT: Final = 4 << 20
ANSWER_WEIGHT: Final = 64 << 10
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 30.0


def pause_s(attempt: int) -> float:
    """How long to wait after so many attempts in vain, in seconds."""
    return float(min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** min(attempt - 1, 10)))


@dataclass(slots=True)
class Share:
    """Instances of one study for one call of `deliver`.

    Attributes
    ----------
    left : dict of int to None
        Those without an answer, in their order.
    is_open : bool
        Whether an association came about; the caller notes it.
    """

    study: int
    left: dict[int, None]
    thread: int = 0
    answers: int = 0
    is_open: bool = False

    def note_open(self) -> None:
        """An association came about."""
        self.is_open = True


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing to do for so many seconds; or until another share ends."""

    seconds: float


@dataclass(slots=True)
class _Study:
    members: Sequence[int]
    weight: int  # of the members that nobody has taken
    taken: int = 0


@dataclass(slots=True)
class _Again:
    study: int
    members: list[int]
    due: float = field(default=float("-inf"))


class Shares:
    """Instances, named by number, that wait to be sent.

    Parameters
    ----------
    studies : sequence of sequences of int
        The instances of each study, in the order in which they are to go.
    data_set_bytes : callable
        Of an instance.
    threads : int
        How many will ask.
    retries : int
        How many more times an instance is tried that may succeed later.
    """

    def __init__(
        self,
        studies: Sequence[Sequence[int]],
        data_set_bytes: Callable[[int], int],
        *,
        threads: int,
        retries: int,
    ) -> None:
        self._data_set_bytes = data_set_bytes
        self._studies = [_Study(members, sum(map(self._weigh, members))) for members in studies]
        # Largest last, so that the next to begin is popped.
        self._unbegun = sorted(range(len(studies)), key=lambda n: self._studies[n].weight)
        self._begun: list[int] = []
        self._weight = sum(study.weight for study in self._studies)
        self._threads = threads
        self._retries = retries
        self._own: dict[int, int] = {}  # the study that a thread was at last
        self._again: list[_Again] = []
        self._under_way: list[Share] = []
        self._resting: dict[int, tuple[int, float]] = {}  # threads: failures in a row, and until when
        self._attempts: Counter[int] = Counter()
        self._failures = 0  # in a row, without one answer
        self._resume_at = float("-inf")
        self.closed = ""  # why nothing more will be tried

    def take(self, thread: int, now: float) -> Share | Pause | None:
        """The next share for a thread; how long to pause; None when there will be nothing more for anybody."""
        if self.closed:
            return None
        waiting = bool(self._weight or self._again)
        if not waiting and not self._under_way:
            return None
        resume_at = max(self._resume_at, self._resting.get(thread, (0, now))[1])
        if waiting and now < resume_at:
            return Pause(resume_at - now)
        share = self._due(now) or self._part(thread)
        if share:
            share.thread = thread
            self._under_way.append(share)
            return share
        due = min((again.due for again in self._again), default=float("inf"))
        return Pause(due - now)

    def answer(self, share: Share, instance: int, now: float, *, retry: bool) -> bool:
        """An instance was answered; whether it will be tried again, which `retry` says is of use."""
        share.left.pop(instance, None)
        share.answers += 1
        self._failures = 0
        self._resting.pop(share.thread, None)
        return retry and self._try_again(share.study, instance, now)

    def end(self, share: Share, now: float, problem: str = "", *, permanent: bool = False) -> list[int]:
        """A share is over.

        Parameters
        ----------
        problem : str
            Why, when it was not in good order; what has no answer is then tried again as far as it may.
        permanent : bool
            The peer will say the same to everybody else.

        Returns
        -------
        list of int
            Those without an answer that will not be tried again.
        """
        self._under_way = [each for each in self._under_way if each is not share]
        left = list(share.left)
        share.left.clear()
        if not left:
            return []
        if not problem or permanent:
            self.closed = self.closed or problem or "interrupted"
            return left
        if share.answers:
            if left[1:]:
                self._again.append(_Again(share.study, left[1:]))
            return [] if self._try_again(share.study, left[0], now) else left[:1]
        if not self._rest(share.thread, now):
            self.closed = problem
            return left
        if share.is_open:
            return self._charge(share.study, left)
        self._again.append(_Again(share.study, left))
        return []

    def rest(self) -> list[int]:
        """Takes away and gives what nobody has taken: for the account, once it is closed or interrupted."""
        rest = [instance for again in self._again for instance in again.members]
        for study in self._studies:
            rest += study.members[study.taken :]
            study.taken, study.weight = len(study.members), 0
        self._again.clear()
        self._weight = 0
        return rest

    def attempts(self, instance: int) -> int:
        """How many attempts of an instance were in vain."""
        return self._attempts[instance]

    # ---- inside

    def _weigh(self, instance: int) -> int:
        return self._data_set_bytes(instance) + ANSWER_WEIGHT

    def _due(self, now: float) -> Share | None:
        for number, again in enumerate(self._again):
            if again.due <= now:
                del self._again[number]
                return Share(again.study, dict.fromkeys(again.members))
        return None

    def _part(self, thread: int) -> Share | None:
        own = self._own.get(thread)
        if own is not None and self._studies[own].weight:
            number = own
        elif self._unbegun:
            number = self._unbegun.pop()
            self._begun.append(number)
        else:
            self._begun = [each for each in self._begun if self._studies[each].weight]
            if not self._begun:
                return None
            number = max(self._begun, key=lambda each: self._studies[each].weight)
        self._own[thread] = number
        return Share(number, dict.fromkeys(self._cut(self._studies[number])))

    def _cut(self, study: _Study) -> Sequence[int]:
        """The next members of a study: all, or so many as make a share."""
        limit = max(MIN_SHARE_WEIGHT, self._weight // (2 * self._threads))
        if self._threads == 1 or study.weight <= limit:
            cut, weight = study.members[study.taken :], study.weight
        else:
            end, weight = study.taken, 0
            while weight < limit and end < len(study.members):
                weight += self._weigh(study.members[end])
                end += 1
            cut = study.members[study.taken : end]
        study.taken += len(cut)
        study.weight -= weight
        self._weight -= weight
        return cut

    def _try_again(self, study: int, instance: int, now: float) -> bool:
        self._attempts[instance] += 1
        attempt = self._attempts[instance]
        if attempt > self._retries:
            return False
        self._again.append(_Again(study, [instance], now + pause_s(attempt)))
        return True

    def _rest(self, thread: int, now: float) -> bool:
        """Not one answer: this thread pauses while others are heard, else all do; False when it was once too often."""
        if any(share.is_open for share in self._under_way):
            failures = self._resting.get(thread, (0, now))[0] + 1
            self._resting[thread] = failures, now + pause_s(failures)
            return True
        if now >= self._resume_at:  # the others that failed at the same time met the same
            self._failures += 1
            self._resume_at = now + pause_s(self._failures)
        return self._failures <= self._retries

    def _charge(self, study: int, left: list[int]) -> list[int]:
        """An association died without an answer: one attempt of each is used up; those that have no more."""
        for instance in left:
            self._attempts[instance] += 1
        gone = [instance for instance in left if self._attempts[instance] > self._retries]
        kept = [instance for instance in left if self._attempts[instance] <= self._retries]
        # The first may be what the peer cannot stand: alone it harms nobody else.
        self._again += [_Again(study, part) for part in (kept[1:], kept[:1]) if part]
        return gone
