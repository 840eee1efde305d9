"""Who sends what next: shared between threads with nobody idle, and tried again as far as it is of use."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from dicomrelay.cli.shares import ANSWER_WEIGHT, MIN_SHARE_WEIGHT, Pause, Share, Shares, pause_s

MB = 1 << 20


def made(sizes: Sequence[Sequence[int]], *, threads: int, retries: int = 0) -> tuple[Shares, list[int]]:
    """Shares of studies that are given by the sizes of their instances, and all sizes by number."""
    numbers = iter(range(sum(map(len, sizes))))
    studies = [[next(numbers) for _ in study] for study in sizes]
    flat = [size for study in sizes for size in study]
    return Shares(studies, flat.__getitem__, threads=threads, retries=retries), flat


def taken(shares: Shares, thread: int = 0, now: float = 0.0) -> Share:
    share = shares.take(thread, now)
    assert isinstance(share, Share), share
    return share


def answer_all(shares: Shares, share: Share, now: float = 0.0) -> list[int]:
    """All is well with a share."""
    sent = list(share.left)
    for instance in sent:
        assert not shares.answer(share, instance, now, retry=False)
    assert shares.end(share, now) == []
    return sent


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 60 * MB), min_size=1, max_size=30), min_size=1, max_size=12),
    st.integers(1, 8),
)
def test_every_instance_is_sent_once_and_no_thread_idles_while_others_have_much_left(
    sizes: list[list[int]], threads: int
) -> None:
    """Threads that send a byte a second: they end within one small share and one instance of each other."""
    shares, flat = made(sizes, threads=threads)
    clock = [(0.0, thread) for thread in range(threads)]
    under_way: dict[int, Share] = {}
    sent: Counter[int] = Counter()
    ended: list[float] = []
    while clock:
        now, thread = heapq.heappop(clock)
        if thread in under_way:
            sent.update(answer_all(shares, under_way.pop(thread), now))
        step = shares.take(thread, now)
        if isinstance(step, Share):
            under_way[thread] = step
            cost = sum(flat[instance] + ANSWER_WEIGHT for instance in step.left)
            heapq.heappush(clock, (now + cost, thread))
        else:  # nothing is left but what others are sending now
            ended.append(now)

    assert sent == Counter(range(len(flat)))
    total = sum(flat) + len(flat) * ANSWER_WEIGHT
    latest = max(MIN_SHARE_WEIGHT, total // (2 * threads)) + max(flat) + ANSWER_WEIGHT
    assert max(ended) <= total / threads + latest
    if threads > 1 and max(flat) < MB and total > 200 * threads * MIN_SHARE_WEIGHT:
        assert max(ended) - min(ended) <= MIN_SHARE_WEIGHT + MB + ANSWER_WEIGHT


def test_a_study_is_begun_by_a_second_thread_only_when_all_are_begun() -> None:
    """Two threads in turn, twelve equal studies: all but the last whole, and each of one thread alone."""
    shares, _ = made([[MB] * 8] * 12, threads=2)
    begun = [taken(shares, thread) for thread in (0, 1)]
    whole = 0
    by_study: dict[int, set[int]] = {}
    while len(by_study) < 10:
        for thread in (0, 1):
            whole += len(begun[thread].left) == 8
            by_study.setdefault(begun[thread].study, set()).add(thread)
            answer_all(shares, begun[thread])
            begun[thread] = taken(shares, thread)

    assert whole >= 8
    assert all(len(threads) == 1 for threads in by_study.values())


def test_one_huge_study_is_sent_by_all_threads_and_they_end_together() -> None:
    """4,000 instances of 500 kB, four threads: all at work from the start, few associations, an even end."""
    shares, _ = made([[500_000] * 4000], threads=4)
    clock = [(0.0, thread) for thread in range(4)]
    under_way: dict[int, Share] = {}
    count = 0
    ended: list[float] = []
    while clock:
        now, thread = heapq.heappop(clock)
        if thread in under_way:
            answer_all(shares, under_way.pop(thread), now)
        step = shares.take(thread, now)
        if isinstance(step, Share):
            count += 1
            under_way[thread] = step
            heapq.heappush(clock, (now + len(step.left), thread))
        else:
            ended.append(now)

    assert min(ended) >= 1000 - 8
    assert max(ended) <= 1000 + 8
    assert count < 60


def test_with_one_thread_a_study_is_one_association() -> None:
    """There is nobody to share with."""
    shares, _ = made([[50 * MB] * 40, [MB]], threads=1)

    assert [len(answer_all(shares, taken(shares))) for _ in range(2)] == [40, 1]
    assert shares.take(0, 0.0) is None


def test_what_may_succeed_later_is_sent_again_after_a_pause_and_the_rest_is_not() -> None:
    """A700 for one of three: it alone comes again, twice, after 1 s and 2 s."""
    shares, _ = made([[1, 1, 1]], threads=1, retries=2)
    share = taken(shares)
    assert not shares.answer(share, 0, 0.0, retry=False)
    assert shares.answer(share, 1, 0.0, retry=True)
    assert not shares.answer(share, 2, 0.0, retry=False)
    assert shares.end(share, 0.0) == []

    assert shares.take(0, 0.5) == Pause(0.5)
    again = taken(shares, now=1.0)
    assert list(again.left) == [1]
    assert shares.answer(again, 1, 1.0, retry=True)
    assert shares.end(again, 1.0) == []
    assert shares.take(0, 1.0) == Pause(2.0)
    last = taken(shares, now=3.0)
    assert not shares.answer(last, 1, 3.0, retry=True)
    shares.end(last, 3.0)
    assert shares.take(0, 3.0) is None
    assert shares.attempts(1) == 3


def test_after_an_abort_only_what_has_no_answer_goes_on_and_the_suspect_goes_alone() -> None:
    """Two of five were answered: 3 and 4 at once, 2 alone and later, until it has used up its attempts."""
    shares, _ = made([[1] * 5], threads=1, retries=1)
    share = taken(shares)
    shares.answer(share, 0, 0.0, retry=False)
    shares.answer(share, 1, 0.0, retry=False)
    assert shares.end(share, 0.0, "aborted") == []

    others = taken(shares)
    assert list(others.left) == [3, 4]
    answer_all(shares, others)
    suspect = taken(shares, now=1.0)
    suspect.is_open = True
    assert list(suspect.left) == [2]
    assert shares.end(suspect, 1.0, "aborted") == [2]
    assert not shares.closed
    assert shares.take(0, 2.0) is None


def test_a_peer_that_is_not_there_is_left_in_peace_after_so_many_times() -> None:
    """Three attempts in a row with pauses between, whatever number of studies and threads."""
    shares, _ = made([[1]] * 10, threads=2, retries=2)
    now, tries = 0.0, 0
    while (step := shares.take(0, now)) is not None:
        if isinstance(step, Pause):
            now += step.seconds
            continue
        other = shares.take(1, now)
        shares.end(step, now, "cannot connect")
        tries += 1
        if isinstance(other, Share):
            shares.end(other, now, "cannot connect")

    assert tries == 3
    assert now == pause_s(1) + pause_s(2) == 3.0
    assert shares.closed == "cannot connect"
    assert shares.rest()


def test_while_others_are_heard_only_the_thread_that_is_not_pauses() -> None:
    """A peer with one place: the second thread is told to wait for 1 s, 2 s, 4 s; the first goes on, all the time."""
    shares, _ = made([[1]] * 4, threads=2, retries=1)
    heard = taken(shares, 0)
    heard.is_open = True
    now = 0.0
    for attempt in (1, 2, 3):
        rejected = taken(shares, 1, now)
        assert shares.end(rejected, now, "rejected for now") == []
        assert shares.take(1, now) == Pause(pause_s(attempt))
        now += pause_s(attempt)
    answer_all(shares, heard, now)

    assert len([n for _ in range(3) for n in answer_all(shares, taken(shares, 0, now), now)]) == 3
    assert shares.take(0, now) is None
    assert not shares.closed


def test_a_peer_that_comes_back_gets_all_of_it() -> None:
    """One failure, then answers: the count of failures begins anew."""
    shares, _ = made([[1], [1]], threads=1, retries=1)
    first = taken(shares)
    assert shares.end(first, 0.0, "cannot connect") == []

    sent = []
    now = 0.0
    while (step := shares.take(0, now)) is not None:
        if isinstance(step, Pause):
            now += step.seconds
        else:
            sent += answer_all(shares, step, now)

    assert sorted(sent) == [0, 1]
    assert not shares.closed


def test_a_rejection_for_good_ends_it_at_once() -> None:
    """Nobody else is sent to be told the same."""
    shares, _ = made([[1], [1]], threads=1, retries=5)
    share = taken(shares)

    failed = shares.end(share, 0.0, "called AE title not recognised", permanent=True)
    assert shares.take(0, 0.0) is None
    assert sorted(failed + shares.rest()) == [0, 1]
