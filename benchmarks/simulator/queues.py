"""The queues, step by step: no clock, no chance, the same result for the same site.

Instances are an amount, and not things: in a step each stage takes what waits for it, as far as the cores, the ledger's
writer, a destination's associations and its line go round. What is older goes first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf

from benchmarks.simulator.site import DAY_S, Costs, Site, Target


class Queue:
    """What waits for a stage, in the order in which it came."""

    def __init__(self) -> None:
        self.waiting = 0.0
        self.most = 0.0
        self.longest_s = 0.0
        self.gone = 0.0
        self._lots: deque[list[float]] = deque()  # when it came into the house, and how much

    def put(self, came_s: float, amount: float) -> None:
        """More that came into the house at a time."""
        if amount > 0:
            self._lots.append([came_s, amount])
            self.waiting += amount
            self.most = max(self.most, self.waiting)

    def take(self, now_s: float, amount: float) -> Iterator[tuple[float, float]]:
        """The oldest, up to an amount, with when they came."""
        left = min(amount, self.waiting)
        while left > 1e-9 and self._lots:
            lot = self._lots[0]
            part = min(left, lot[1])
            left -= part
            self.waiting = max(0.0, self.waiting - part)
            self.gone += part
            self.longest_s = max(self.longest_s, now_s - lot[0])
            lot[1] -= part
            if lot[1] <= 1e-9:
                self._lots.popleft()
            yield lot[0], part

    @property
    def oldest_s(self) -> float | None:
        """When the oldest of it came into the house."""
        return self._lots[0][0] if self._lots else None


class Share:
    """Something that there is so much of in a step: cores, or the ledger's writer."""

    def __init__(self, each_s: float) -> None:
        self.each_s = each_s
        self.left = 0.0
        self.used = 0.0
        self.busiest = 0.0

    def begin(self, step_s: float) -> None:
        """A new step; what the last one used is known now."""
        self.left = self.each_s * step_s

    def end(self, step_s: float) -> None:
        """How busy it was."""
        used = self.each_s * step_s - self.left
        self.used += used
        self.busiest = max(self.busiest, used / (self.each_s * step_s))

    def room(self, cost_s: float) -> float:
        """How many it still has room for."""
        return self.left / cost_s if cost_s else float("inf")

    def spend(self, amount_s: float) -> None:
        """Take so much of it."""
        self.left = max(0.0, self.left - amount_s)


@dataclass(slots=True)
class Outcome:
    """What came of a site's days.

    Attributes
    ----------
    most : dict
        By queue, the most instances that waited in it.
    longest_s : dict
        By queue, the longest time from an instance's arrival to its leaving that queue.
    busy : dict
        By resource, the mean over all days: used over all there is.
    busiest : dict
        The same in the busiest step.
    refused : float
        Instances that found no room in the spool or no core of a gateway: their modalities send them again (A700).
    """

    arrived: float = 0.0
    refused: float = 0.0
    delivered: float = 0.0
    archived: float = 0.0
    waiting: float = 0.0
    spool_most_bytes: float = 0.0
    most: dict[str, float] = field(default_factory=dict)
    longest_s: dict[str, float] = field(default_factory=dict)
    busy: dict[str, float] = field(default_factory=dict)
    busiest: dict[str, float] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether the site keeps up: nothing refused, and at midnight no more waits than a hundredth of what came."""
        return self.refused == 0 and self.waiting <= 0.01 * self.arrived


class _House:
    def __init__(self, site: Site, costs: Costs) -> None:
        self.site, self.costs = site, costs
        self.intake, self.keep = Queue(), Queue()
        self.forward = {target.name: Queue() for target in site.targets}
        self.gateway, self.cores = Share(site.gateway_cores), Share(site.worker_cores)
        self.ledger = Share(site.ledger_writers * (costs.postgresql if site.postgresql else 1))
        size = site.instance_bytes
        self.receive_s, self.intake_s = costs.of(costs.receive, size), costs.of(costs.intake, size)
        self.keep_s, self.forward_s = costs.of(costs.keep, size), costs.of(costs.forward, size)
        self.fan_out = sum(target.share for target in site.targets)
        self.outcome = Outcome()
        self._came: deque[tuple[float, float]] = deque()  # when, and how much: what may still be in the spool
        self._since = 0.0

    def step(self, now_s: float, step_s: float) -> None:
        for share in (self.gateway, self.cores, self.ledger):
            share.begin(step_s)
        self._receive(now_s, step_s)
        if not any(outage.holds(now_s) for outage in self.site.ledger_outages):
            # In the order of docs/design/workers.md: what a destination waits for goes before what only the house waits for.
            self._intake(now_s)
            self._forward(now_s, step_s)
            self._keep(now_s)
        for share in (self.gateway, self.cores, self.ledger):
            share.end(step_s)

    def spooled(self) -> float:
        """Instances in the spool, at most: as if no two queues waited for the same one, but never more than came since the
        oldest that anybody waits for."""
        queues = (self.intake, self.keep, *self.forward.values())
        waiting = [queue.oldest_s for queue in queues if queue.oldest_s is not None]
        oldest_s = min(waiting, default=inf)
        while self._came and self._came[0][0] < oldest_s:
            self._since -= self._came.popleft()[1]
        return min(sum(queue.waiting for queue in queues), self._since)

    def _receive(self, now_s: float, step_s: float) -> None:
        come = self.site.arrivals(now_s) * step_s
        room = (self.site.spool_bytes / self.site.instance_bytes) - self.spooled()
        taken = max(0.0, min(come, self.gateway.room(self.receive_s), room))
        self.gateway.spend(taken * self.receive_s)
        self.outcome.arrived += come
        self.outcome.refused += come - taken if come - taken > 1e-6 else 0.0
        self.intake.put(now_s, taken)
        self._came.append((now_s, taken))
        self._since += taken

    def _intake(self, now_s: float) -> None:
        of_the_ledger = self.costs.ledger * (1 + self.fan_out)
        amount = min(self.intake.waiting, self.cores.room(self.intake_s), self.ledger.room(of_the_ledger))
        self.cores.spend(amount * self.intake_s)
        self.ledger.spend(amount * of_the_ledger)
        for came_s, part in self.intake.take(now_s, amount):
            self.keep.put(came_s, part)
            for target in self.site.targets:
                self.forward[target.name].put(came_s, part * target.share)

    def _forward(self, now_s: float, step_s: float) -> None:
        wanted = {target: self._wanted(target, now_s, step_s) for target in self.site.targets}
        total = sum(wanted.values())
        if not total:
            return
        claims = sum(amount / target.transfer_instances for target, amount in wanted.items())
        of_the_ledger = self.costs.ledger + self.costs.claim * claims / total
        # One that is slow costs the others nothing: what there is of cores and ledger is shared by what each could take.
        part = min(1.0, self.cores.room(self.forward_s) / total, self.ledger.room(of_the_ledger) / total)
        for target, amount in wanted.items():
            for _ in self.forward[target.name].take(now_s, amount * part):
                pass
        self.outcome.delivered += total * part
        self.cores.spend(total * part * self.forward_s)
        self.ledger.spend(total * part * of_the_ledger)

    def _wanted(self, target: Target, now_s: float, step_s: float) -> float:
        rate = target.rate(now_s, self.site.instance_bytes, self.costs)
        return min(self.forward[target.name].waiting, rate * step_s)

    def _keep(self, now_s: float) -> None:
        amount = min(self.keep.waiting, self.cores.room(self.keep_s), self.ledger.room(self.costs.ledger))
        self.cores.spend(amount * self.keep_s)
        self.ledger.spend(amount * self.costs.ledger)
        for _, part in self.keep.take(now_s, amount):
            self.outcome.archived += part


def simulated(site: Site, costs: Costs, *, step_s: float = 10.0) -> Outcome:
    """A site's days, from an empty house at midnight on."""
    house, end_s = _House(site, costs), site.days * DAY_S
    outcome, now_s = house.outcome, 0.0
    while now_s < end_s:
        house.step(now_s, step_s)
        outcome.spool_most_bytes = max(outcome.spool_most_bytes, house.spooled() * site.instance_bytes)
        now_s += step_s
    queues = {"intake": house.intake, "archive": house.keep, **house.forward}
    outcome.most = {name: queue.most for name, queue in queues.items()}
    outcome.longest_s = {
        name: max(queue.longest_s, 0.0 if queue.oldest_s is None else end_s - queue.oldest_s)
        for name, queue in queues.items()
    }
    outcome.waiting = sum(queue.waiting for queue in queues.values())
    shares = {"gateway": house.gateway, "workers": house.cores, "ledger": house.ledger}
    outcome.busy = {name: share.used / (share.each_s * end_s) for name, share in shares.items()}
    outcome.busiest = {name: share.busiest for name, share in shares.items()}
    return outcome
