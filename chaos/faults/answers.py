"""A destination that is down, rejects, aborts, resets, or answers each status there is: R15, R16, R17."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Final

from chaos.campaign import Campaign, campaign
from chaos.destination import Behaviour
from chaos.destination_process import DestinationProcess
from chaos.faults import Fault, Outcome, Run
from chaos.figures import Figure
from chaos.instances import make_instances
from chaos.oracle import Account
from chaos.senders import Tally, send_study
from chaos.tls_front import GOOD, PLAIN_PEER, TLS_PEER, TROUBLES, TlsFront

# How many destinations a relay has at once: each is a process.
_AT_ONCE: Final = 8
_INSTANCES: Final = 3
_JUDGED_WITHIN_S: Final = 40.0
_WATCHED_S: Final = 12.0
_ATTEMPTS_BAR_PER_S: Final = 1.0
DELIVERED, ATTENTION, RETRY = "delivered", "needs attention", "retry"


@dataclass(frozen=True, slots=True)
class Case:
    """What a destination does, and what must be made of it."""

    name: str
    behaviour: Behaviour
    expected: str
    is_down: bool = False
    tls: str = ""


def _statuses() -> Iterator[Case]:
    """PS3.4 Table B.2-1 and PS3.7 Annex C; the page of outcomes says why."""
    for status in (0x0000, 0xB000, 0xB006, 0xB007):
        yield Case(f"{status:04X}", Behaviour(statuses=(status,)), DELIVERED)
    for status in (0xA700, 0xA7FF, 0x0110, 0x0213):
        yield Case(f"{status:04X}", Behaviour(statuses=(status,)), RETRY)
    for status in (
        0xA900, 0xC000, 0xCFFF, 0x0111, 0x0112, 0x0117, 0x0122, 0x0124, 0x0210, 0x0211, 0x0212, 0xFFFF, 0x0002,
    ):  # fmt: skip
        yield Case(f"{status:04X}", Behaviour(statuses=(status,)), ATTENTION)


def _refusals() -> Iterator[Case]:
    yield Case("down", Behaviour(), RETRY, is_down=True)
    for source, reasons in ((1, (1, 2, 3, 7)), (2, (1, 2)), (3, (1, 2))):
        for reason in reasons:
            yield Case(f"RJ 2,{source},{reason}", Behaviour(reject=(2, source, reason)), RETRY)
            yield Case(f"RJ 1,{source},{reason}", Behaviour(reject=(1, source, reason)), ATTENTION)
    for result in (1, 2, 3, 4):
        yield Case(f"context result {result}", Behaviour(refuse_contexts=result), ATTENTION)
    for trouble in TROUBLES:
        expected = {GOOD: DELIVERED, TLS_PEER: RETRY, PLAIN_PEER: RETRY}.get(trouble, ATTENTION)
        yield Case(f"TLS: {trouble}", Behaviour(), expected, tls=trouble)
    yield Case("abort at the first", Behaviour(end_at=1), RETRY)
    yield Case("reset in the request", Behaviour(end_after_bytes=40), RETRY)


STATUSES: Final = tuple(_statuses())
REFUSALS: Final = tuple(_refusals())


@contextmanager
def _destinations(run: Run, number: int, cases: Sequence[Case]) -> Iterator[Campaign]:
    """A relay whose destinations have these behaviours; nothing is sent yet."""
    folder = run.folder / f"{number}"
    folder.mkdir(parents=True)
    known = [DestinationProcess(f"d{index}", folder) for index in range(len(cases))]
    with ExitStack() as stack:
        for case, destination in zip(cases, known, strict=True):
            if case.tls:
                front = TlsFront.start(folder / f"tls-{destination.name}", case.tls, destination.port)
                stack.callback(front.stop)
                destination.stand_behind(front.port, front.more)
        running = stack.enter_context(
            campaign(folder, run.seed, destinations=known, senders=0, storescu=False)
        )
        for case, destination in zip(cases, known, strict=True):
            destination.behave(case.behaviour)
            if case.is_down:
                destination.stop()
        yield running


def classified(run: Run, cases: Sequence[Case]) -> Outcome:
    """What the relay makes of each; a destination in trouble is not besieged."""
    wrong: list[str] = []
    chosen = [cases[index % len(cases)] for index in range(run.trials)]
    busiest, lost = 0.0, 0
    for number in range(0, len(chosen), _AT_ONCE):
        some = chosen[number : number + _AT_ONCE]
        with _destinations(run, number, some) as running:
            tally = Tally()
            files = run.folder / f"files-{number}"
            files.mkdir()
            made = make_instances(files, run.seed + number, per_study=_INSTANCES)
            send_study(running.relay.remote, list(islice(made, _INSTANCES)), tally)
            found, rates = _watched(running, some)
            lost += _INSTANCES - len(tally.acknowledged)
        for case, is_now, rate in zip(some, found, rates, strict=True):
            busiest = max(busiest, rate)
            if is_now != case.expected:
                wrong.append(f"{case.name}: {is_now}, not {case.expected}")
                run.say(wrong[-1])
    return Outcome(
        figures=(
            Figure("judged otherwise than the table of outcomes", len(wrong), bar=0),
            Figure("not acknowledged", lost, bar=0),
            Figure("attempts at a destination in trouble, the most", busiest, "/s", bar=_ATTEMPTS_BAR_PER_S),
        ),
        note="; ".join(wrong),
    )


def _watched(running: Campaign, cases: Sequence[Case]) -> tuple[list[str], list[float]]:
    """What each destination's transfers have become, and how often in a second it was called while it was in trouble."""
    deadline = time.monotonic() + _JUDGED_WITHIN_S
    began = time.monotonic()
    while True:
        found = _states(running)
        is_over = [found[f"d{n}"] == case.expected for n, case in enumerate(cases)]
        if (all(is_over) and time.monotonic() - began > _WATCHED_S) or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    watched_s = time.monotonic() - began
    for destination in running.destinations:
        destination.read()
    rates = [len(each.connected_at) / watched_s for each in running.destinations]
    return [found[f"d{n}"] for n in range(len(cases))], rates


def _states(running: Campaign) -> dict[str, str]:
    """By destination, from `dicomrelay status`."""
    status = running.relay.status()
    found = {each.name: "nothing yet" for each in running.destinations}
    for study in status["studies"]:
        for row in study["destinations"]:
            if row["delivered"] == _INSTANCES:
                found[row["destination"]] = DELIVERED
    for row in status["waiting"]:
        found[row["destination"]] = RETRY
    for row in status["needs_attention"]:
        # A suspect is tried again by itself, and is a retry that a person may look at.
        if row["destination"] in found and row["kind"] != "suspect":
            found[row["destination"]] = ATTENTION
    return found


def reset_at(run: Run) -> Outcome:
    """R16: a reset at byte k of what is sent to it, once; afterwards all is right."""
    return _cut_short(
        run, [Behaviour(end_after_bytes=1 + 311 * k, times=1) for k in range(run.trials)], 12, 4_000
    )


def aborted_at(run: Run) -> Outcome:
    """R16-resend: the k-th of a hundred instances is answered with an A-ABORT, once."""
    of = 100
    behaviours = [
        Behaviour(end_at=1 + k * of // max(run.trials, 1) % of, over_all=True) for k in range(run.trials)
    ]
    return _cut_short(run, behaviours, of, 10_000, resent_bar=0.02)


def _cut_short(
    run: Run, behaviours: Sequence[Behaviour], instances: int, size: int, *, resent_bar: float | None = None
) -> Outcome:
    """A study for each batch of destinations, which all end it somewhere else; then everything has to be everywhere."""
    total = Account()
    resent: list[float] = []
    slowest, ended = 0.0, 0
    for number in range(0, len(behaviours), _AT_ONCE):
        # The last is one that does nothing wrong: what it gets is what has to be sent.
        every = [*behaviours[number : number + _AT_ONCE], Behaviour()]
        some = [Case("", behaviour, DELIVERED) for behaviour in every]
        with _destinations(run, number, some) as running:
            tally = Tally()
            files = run.folder / f"files-{number}"
            files.mkdir()
            made = make_instances(files, run.seed + number, per_study=instances, size=size)
            study = list(islice(made, instances))
            send_study(running.relay.remote, study, tally)
            running.tallies.append(tally)
            slowest = max(slowest, running.catch_up(within_s=60))
            total += running.finish()
            for destination in running.destinations:
                destination.read()
            least = running.destinations[-1].bytes_received
            ended += sum(each.ended_on_purpose for each in running.destinations)
            resent += [each.bytes_received / least - 1 for each in running.destinations[:-1]]
    figures = [
        Figure("associations ended so", ended, bar=0.9 * run.trials, at_least=True),
        Figure("duplicates for a trial", total.duplicates / run.trials, bar=1),
        Figure("all has arrived, the longest", slowest, "s", bar=60),
    ]
    if resent_bar is not None:
        figures.append(Figure("share of the bytes sent again, the most", max(resent), bar=resent_bar))
        figures.append(Figure("share of the bytes sent again, the mean", sum(resent) / len(resent)))
    return Outcome(
        total, tuple(figures), note=f"studies of {instances} instances, {_AT_ONCE} destinations at once"
    )


FAULTS: Final = (
    Fault(
        "R15",
        "a destination is down, rejects, refuses contexts, shows a bad certificate, aborts, resets",
        "cases",
        len(REFUSALS),
        lambda run: classified(run, REFUSALS),
    ),
    Fault("R16", "a destination resets at byte k", "positions", 200, reset_at),
    Fault("R16-resend", "a destination aborts at instance k of 100", "positions", 100, aborted_at),
    Fault(
        "R17",
        "a destination answers each status",
        "statuses",
        len(STATUSES),
        lambda run: classified(run, STATUSES),
    ),
)
