"""The ledger: one transaction a call, over the modules that hold its parts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from dicomrelay.ledger import (
    arrived,
    attention,
    claiming,
    destinations,
    grouping,
    ingest,
    jobs,
    release,
    stages,
    summary,
    transfers,
    waiting,
)
from dicomrelay.ledger import due as due_work
from dicomrelay.ledger.alerts import Alerts
from dicomrelay.ledger.completion import Completion
from dicomrelay.ledger.engine import Database
from dicomrelay.ledger.evidence import Evidence
from dicomrelay.ledger.figures import Figures, figures
from dicomrelay.ledger.flow import Flow
from dicomrelay.ledger.hosts import HostFound
from dicomrelay.ledger.hosts import hosts as hosts_of
from dicomrelay.ledger.inventory import Inventory
from dicomrelay.ledger.journey import Journey
from dicomrelay.ledger.leases import Leases
from dicomrelay.ledger.mending import Mending
from dicomrelay.ledger.named_leases import NamedLeases
from dicomrelay.ledger.operations import Operations
from dicomrelay.ledger.pulls import Pulls
from dicomrelay.ledger.rates import Rates
from dicomrelay.ledger.retention import Retention
from dicomrelay.ledger.rulings import Rulings
from dicomrelay.ledger.values import (
    Arrival,
    Attention,
    ClaimedTransfer,
    DeliveryOutcome,
    DestinationInfo,
    Due,
    JobProgress,
    Priority,
    Registered,
    Stage,
    StageClaim,
    StageResult,
    StudySummary,
    TransferState,
    Waiting,
)
from dicomrelay.ledger.verifications import Verifications


class Ledger:
    """The index of the record (docs/design/ledger.md).

    Safe for use by several threads. Not across a fork: dispose of it before, open another after. Every method raises
    ServiceUnavailable when the database does not answer; nothing of its call is then written.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.alerts = Alerts(database)
        self.completion = Completion(database)
        self.evidence = Evidence(database)
        self.flow = Flow(database)
        self.leases = Leases(database)
        self.named_leases = NamedLeases(database)
        self.retention = Retention(database)
        self.inventory = Inventory(database)
        self.verifications = Verifications(database)
        self.journey = Journey(database)
        self.mending = Mending(database)
        self.operations = Operations(database)
        self.rulings = Rulings(database)
        self.pulls = Pulls(database)
        self.rates = Rates(database)

    @classmethod
    def open(cls, url: str) -> Ledger:
        """A ledger at `sqlite:///path` or `postgresql://...`, which `migrate` has been run on.

        Raises
        ------
        ConfigurationError
            The URL is of no database that we know.
        """
        return cls(Database(url, guarded=True))

    def dispose(self) -> None:
        """Close every connection."""
        self._database.dispose()

    @property
    def was_replaced(self) -> bool:
        """Whether its file was removed or replaced under us: whoever rebuilds it has to begin again."""
        return self._database.was_replaced

    # Destinations

    def sync_destinations(self, known: Sequence[DestinationInfo]) -> None:
        """Write destinations, over what was known of the same names. Others stay: they may have open deliveries."""
        self._database.transact(lambda work: destinations.sync(work, known))

    def destination(self, name: str) -> DestinationInfo | None:
        """What is known of a destination; None when its name never came up."""
        with self._database.read() as work:
            return destinations.find(work, name)

    # Arrivals

    def came(self, sop_instance_uids: Sequence[str]) -> dict[str, set[str]]:
        """Digests of the data sets that came under these UIDs, what is set aside and what is released too."""
        with self._database.read() as work:
            return arrived.digests(work, sop_instance_uids)

    def register(self, arrivals: Sequence[Arrival]) -> list[Registered]:
        """Register arrivals, in one transaction, and say of each what it is.

        May be repeated with the same spool ids at any time. Names of destinations that were never synced get a row without an
        address, so that nothing is refused.

        Returns
        -------
        list of Registered
            In the order of `arrivals`.
        """
        return self._database.transact(lambda work: ingest.register(work, arrivals))

    def complete_quiet_studies(
        self, *, quiet_ms: int, batch_instances: int, batch_bytes: int, limit: int
    ) -> int:
        """Make transfers of what waits in studies that received nothing for `quiet_ms`; how many were made.

        `completion.complete` knows of associations that ended, too.

        Parameters
        ----------
        batch_instances, batch_bytes : int
            The most that one transfer holds; an instance larger than `batch_bytes` goes by itself.
        limit : int
            Studies that one call takes. Call again while it makes some.
        """
        policy = grouping.CompletionPolicy(quiet_ms, quiet_ms, batch_instances, batch_bytes)
        return self._database.transact(lambda work: grouping.complete(work, policy, limit=limit)).transfers

    # Work

    def due(
        self,
        *,
        limit: int,
        host: str | None = None,
        destination: str | None = None,
        closed: Collection[str] = (),
        keep_ms: int = 0,
    ) -> Due:
        """What can be done now: transfers for which their destination has a free place, and counts up to `limit`.

        Parameters
        ----------
        host : str, optional
            Count archiving and releasable items of this host's spool only.
        destination : str, optional
            Transfers to this destination only.
        closed : collection of str
            Destinations to leave out: outside of their time windows.
        keep_ms : int
            Leave out releasable items that were registered since.
        """
        with self._database.read() as work:
            return due_work.due(
                work, limit=limit, host=host, destination=destination, closed=closed, keep_ms=keep_ms
            )

    def hosts(self) -> list[HostFound]:
        """The hosts at this ledger."""
        with self._database.read() as work:
            return hosts_of(work)

    def claim_transfer(
        self, transfer_id: str, *, owner: str, lease_ms: int, host: str = ""
    ) -> ClaimedTransfer | None:
        """Take a transfer for `lease_ms`.

        None when it is leased, finished, held, not due, unknown, or its destination has no place for it: as many transfers
        run as it stands, more urgent ones wait for the free places, it is held, or its breaker is open.

        Parameters
        ----------
        host : str
            Whose spool the claimer can read, where several hosts are at the ledger: nothing is taken that is in another's spool
            alone. "": everything is readable.
        """
        return self._database.transact(
            lambda work: claiming.claim(work, transfer_id, owner=owner, lease_ms=lease_ms, host=host)
        )

    def claim_next_transfer(
        self,
        destination: str,
        *,
        priorities: Sequence[Priority] = tuple(Priority),
        owner: str,
        lease_ms: int,
        host: str = "",
    ) -> ClaimedTransfer | None:
        """Take the transfer that goes first at a destination, for `lease_ms`.

        None when none is due, there is no free place, or what goes first is none of the `priorities`; `host` as
        `claim_transfer`.
        """
        return self._database.transact(
            lambda work: claiming.claim_next(
                work, destination, priorities=priorities, owner=owner, lease_ms=lease_ms, host=host
            )
        )

    def renew_transfer(self, transfer_id: str, fence: int, *, lease_ms: int) -> bool:
        """Hold the lease for `lease_ms` from now. False when another runner has it: stop."""
        return self._database.transact(
            lambda work: transfers.renew(work, transfer_id, fence, lease_ms=lease_ms)
        )

    def record_outcomes(self, transfer_id: str, fence: int, outcomes: Sequence[DeliveryOutcome]) -> bool:
        """Write what came of instances of a transfer; what was delivered stays delivered.

        False when the fence is old: nothing is written then but an event for each instance that the peer acknowledged.

        Raises
        ------
        LedgerError
            No such transfer, an instance that it does not hold, or an outcome that is pending.
        """
        return self._database.transact(
            lambda work: transfers.record_outcomes(work, transfer_id, fence, outcomes)
        )

    def finish_transfer(
        self,
        transfer_id: str,
        fence: int,
        *,
        retry_in_ms: int | None,
        reason: str = "",
        advice: str = "",
        words: str = "",
        delivered: int = 0,
    ) -> TransferState:
        """Give the lease back, and say what the transfer is now.

        Parameters
        ----------
        retry_in_ms : int, optional
            When to try again if something is pending or failed; None for never.
        advice : str
            What somebody has to do before an attempt can succeed; while it waits with one it is listed as needing attention.
        words : str
            `reason` as it may stand in evidence: without anything that the peer said.
        delivered : int
            Instances that this attempt brought across; without a reason too, the destination stood it well.

        Returns
        -------
        TransferState
            DONE, WAITING or NEEDS_ATTENTION; with an old fence the state that others gave it, unchanged.

        Raises
        ------
        LedgerError
            No such transfer.
        """
        return self._database.transact(
            lambda work: transfers.finish(
                work,
                transfer_id,
                fence,
                retry_in_ms=retry_in_ms,
                reason=reason,
                advice=advice,
                words=words,
                delivered=delivered,
            )
        )

    def reopen_transfer(self, transfer_id: str) -> bool:
        """Try again what needs attention, refused instances too. False when the transfer does not need attention.

        Raises
        ------
        LedgerError
            No such transfer.
        """
        return self._database.transact(lambda work: transfers.reopen(work, transfer_id))

    def claim_instances(
        self, stage: Stage, *, host: str, owner: str, limit: int, lease_ms: int
    ) -> StageClaim | None:
        """Take up to `limit` instances that are due for a stage; None when there are none.

        Archiving takes instances of this host's spool; frames are taken by any host, and only of archived instances.
        """
        return self._database.transact(
            lambda work: stages.claim(work, stage, host=host, owner=owner, limit=limit, lease_ms=lease_ms)
        )

    def renew_stage(self, claim: StageClaim, *, lease_ms: int) -> bool:
        """Hold what is unfinished of a claim for `lease_ms` from now. False when nothing of it is ours any more."""
        return self._database.transact(lambda work: stages.renew(work, claim, lease_ms=lease_ms))

    def finish_stage(self, claim: StageClaim, results: Sequence[StageResult]) -> int:
        """Write results of a claim, of those instances that nobody else has claimed since; how many that were."""
        return self._database.transact(lambda work: stages.finish(work, claim, results))

    # Release

    def releasable(self, *, host: str, limit: int, keep_ms: int = 0) -> list[str]:
        """Spool items of a host that nothing needs any more: kept in the archive, or delivered where there is none.

        Parameters
        ----------
        keep_ms : int
            Those that were registered since stay.
        """
        with self._database.read() as work:
            return release.releasable(work, host=host, limit=limit, keep_ms=keep_ms)

    def mark_released(self, spool_ids: Iterable[str]) -> list[str]:
        """Mark spool items as gone, before they are removed, and return those that may be.

        One that has got a new delivery since `releasable` is not marked and not returned: it must stay.
        """
        ids = list(spool_ids)
        return self._database.transact(lambda work: release.mark_released(work, ids))

    def released(self, spool_ids: Iterable[str]) -> list[str]:
        """Of these spool items those that are marked: a crash left them behind, and they may be removed."""
        with self._database.read() as work:
            return release.released(work, spool_ids)

    def replace_spool_item(
        self, instance_id: str, *, spool_id: str, host: str, data_set_offset: int, archive_again: bool = False
    ) -> None:
        """Let another spool item with the same data set be the instance's file: for when its own is lost.

        Parameters
        ----------
        archive_again : bool
            It was archived, and the archive has it no more, or not whole: it is archived once more.
        """
        self._database.transact(
            lambda work: release.replace_item(
                work,
                instance_id,
                spool_id=spool_id,
                host=host,
                data_set_offset=data_set_offset,
                archive_again=archive_again,
            )
        )

    def archive_again(self, instance_id: str) -> bool:
        """Archive once more, from the spool, what the archive has no more, or not whole; False when it is released there."""
        return self._database.transact(lambda work: release.archive_again(work, instance_id))

    # Figures

    def figures(self) -> Figures:
        """Destinations, stages and what needs attention, in numbers: for metrics and alerts."""
        with self._database.read() as work:
            return figures(work)

    # Jobs and reports

    def create_job(self, job_id: str, *, kind: str, expected: int) -> None:
        """Make a job of `expected` spool items, or change what is expected of it."""
        self._database.transact(lambda work: jobs.create(work, job_id, kind=kind, expected=expected))

    def job_progress(self, job_id: str, *, with_instances: bool = False) -> JobProgress:
        """How far a job is, in all and per study; `with_instances` adds a row for each delivery.

        Raises
        ------
        LedgerError
            No such job.
        """
        with self._database.read() as work:
            return jobs.progress(work, job_id, with_instances=with_instances)

    def studies(
        self,
        *,
        limit: int = 100,
        study_instance_uid: str | None = None,
        beginning: str = "",
        after: tuple[int, str] | None = None,
    ) -> tuple[StudySummary, ...]:
        """The studies that were last received, newest first, or one of them.

        Parameters
        ----------
        beginning : str
            Only those whose UID begins so.
        after : tuple, optional
            Only those behind the one that was received last at this time, in epoch milliseconds, and has this UID.
        """
        with self._database.read() as work:
            return summary.newest(
                work, limit=limit, study_instance_uid=study_instance_uid, beginning=beginning, after=after
            )

    def waiting(self) -> tuple[Waiting, ...]:
        """What failed and will be tried again, by destination, with the reason."""
        with self._database.read() as work:
            return waiting.waiting(work)

    def needs_attention(self, *, limit: int = 1000) -> list[Attention]:
        """What will not get better by itself, kind by kind; of each kind up to `limit` rows."""
        with self._database.read() as work:
            return attention.needs_attention(work, limit=limit)

    def unheard(self) -> int:
        """How many messages about performed procedure steps (MPPS) no system took, and need a person."""
        with self._database.read() as work:
            return attention.unheard(work)
