"""What is simulated: who sends, who receives, which hosts stand between, and what a stage costs there."""

from __future__ import annotations

from dataclasses import dataclass, field

# worker.batch_instances, and the least that is worth an association of its own.
BATCH, LEAST_TRANSFER = 200, 10
HOUR_S = 3600
DAY_S = 24 * HOUR_S
# Shares of a day's instances by hour: little at night, most from eight to six, as radiology works. They sum to 1.
WORKING_DAY = tuple(
    share / 1000
    for share in (8, 6, 6, 6, 8, 12, 25, 55, 85, 95, 95, 90, 70, 75, 85, 80, 65, 45, 28, 20, 15, 11, 8, 7)
)


@dataclass(frozen=True, slots=True)
class Costs:
    """What an instance takes, at most: seconds of one core, all measured.

    Attributes
    ----------
    receive, intake, keep, forward : pair of float
        A constant, and for each byte of the data set. Gateway; grouping; archive and frames; one delivery.
    ledger : float
        Of the one writer of the ledger: to register an instance, and each of its deliveries.
    claim : float
        Of that writer, for each transfer.
    postgresql : float
        How quick that writer is in PostgreSQL beside SQLite.
    between_s : float
        What an association waits for from one transfer to the next: the outcome recorded, a claim, a new association.
    """

    receive: tuple[float, float]
    intake: tuple[float, float]
    keep: tuple[float, float]
    forward: tuple[float, float]
    ledger: float
    claim: float
    postgresql: float = 1.0
    between_s: float = 0.0

    @staticmethod
    def of(cost: tuple[float, float], instance_bytes: float) -> float:
        """Seconds of a core for an instance of that size."""
        return cost[0] + cost[1] * instance_bytes


@dataclass(frozen=True, slots=True)
class Outage:
    """A destination, or what has no name (the ledger), that is away for a while."""

    begin_s: float
    end_s: float

    def holds(self, at_s: float) -> bool:
        """Whether it is away at a time."""
        return self.begin_s <= at_s < self.end_s


@dataclass(frozen=True, slots=True)
class Target:
    """A destination.

    Attributes
    ----------
    share : float
        Of all instances, how many go there.
    answer_s : float
        What it takes to answer a C-STORE, besides the way of the bytes.
    bytes_per_s : float
        Of its line, or of its setting.
    """

    name: str
    share: float
    associations: int = 2
    answer_s: float = 0.02
    bytes_per_s: float = 125e6
    outages: tuple[Outage, ...] = ()

    @property
    def transfer_instances(self) -> float:
        """Instances of a transfer while studies arrive: a batch shared out over the associations (docs/design/completion.md)."""
        return max(LEAST_TRANSFER, BATCH / self.associations)

    def rate(self, at_s: float, instance_bytes: float, costs: Costs) -> float:
        """Instances a second that it takes at most: by its associations and by its line.

        An association waits for the answer, for what the bytes take, and for its share of what lies between two transfers.
        """
        if any(outage.holds(at_s) for outage in self.outages):
            return 0.0
        each_s = self.answer_s + costs.forward[1] * instance_bytes + costs.between_s / self.transfer_instances
        return min(self.associations / each_s, self.bytes_per_s / instance_bytes)


@dataclass(frozen=True, slots=True)
class Site:
    """A house, or many.

    Attributes
    ----------
    a_day : float
        Instances that all modalities send in a day.
    burst : float
        How many times the hour's mean is sent in its worst minutes, a fifth of the time; the rest of the hour gives it back.
    gateway_cores, worker_cores : float
        Of all hosts of a kind together.
    ledger_writers : float
        1: one process after another. More at once was not measured.
    postgresql : bool
        Whether the ledger is in PostgreSQL, and not in SQLite.
    spool_bytes : float
        Room of all spools together.
    """

    name: str
    a_day: float
    instance_bytes: float
    targets: tuple[Target, ...]
    gateway_cores: float = 2
    worker_cores: float = 2
    ledger_writers: float = 1
    postgresql: bool = False
    ledger_outages: tuple[Outage, ...] = ()
    spool_bytes: float = 1e12
    burst: float = 2.0
    days: int = 2
    profile: tuple[float, ...] = field(default=WORKING_DAY)

    def arrivals(self, at_s: float) -> float:
        """Instances a second at a time: twelve minutes of each hour a burst, then less."""
        mean = self.a_day * self.profile[int(at_s % DAY_S // HOUR_S)] / HOUR_S
        in_burst = at_s % HOUR_S < HOUR_S / 5
        return mean * self.burst if in_burst else mean * (5 - self.burst) / 4
