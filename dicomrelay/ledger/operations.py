"""What a person does to deliveries: one method a verb (docs/design/operations.md)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence, Set
from dataclasses import replace
from functools import partial

from dicomrelay.ledger import (
    actions,
    cancelling,
    joblist,
    jobs,
    jobshow,
    joining,
    replaying,
    subjects,
    verification_verbs,
)
from dicomrelay.ledger.engine import Database, chunks
from dicomrelay.ledger.values import TransferState
from dicomrelay.ledger.values_operations import (
    Changed,
    JobRow,
    Reason,
    Replayed,
    ReplayOrder,
    StoppedDestination,
    Subject,
    TransferRow,
)


class Operations:
    """Verbs on jobs, transfers and studies, and what there is to apply them to.

    Safe for use by several threads and processes. Each verb may be given again: what is so already stays so. Every method
    raises ServiceUnavailable when the database does not answer; a verb that works in portions has then done some of them.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, text: str) -> Subject | None:
        """The job, the transfer or the study of that id; None when the ledger knows none."""
        with self._database.read() as work:
            return subjects.find(work, text)

    def hold(self, subject: Subject, *, destination: str = "") -> Changed:
        """Stop what is ready, runs or waits, and what joins a job or a study later, until `release`.

        A runner stops before its next instance; what the peer acknowledges until then is recorded.

        Parameters
        ----------
        destination : str
            Only transfers to it; "" for all.
        """
        return self._database.transact(lambda work: actions.hold(work, subject, destination))

    def release(self, subject: Subject, *, destination: str = "") -> Changed:
        """Let go what is held, and take the subject's orders away. What was cancelled stays so."""
        return self._database.transact(lambda work: actions.release(work, subject, destination))

    def retry(self, subject: Subject, *, destination: str = "") -> Changed:
        """Try now what waits or needs attention, refused instances too, with the attempts counted from 0.

        What a destination does not confirm is asked about again, or sent again where it is missing.
        Without a destination, archiving and frames of instances that need attention are tried again too.
        """
        changed = self._database.transact(lambda work: actions.retry(work, subject, destination))
        asked = self._database.transact(lambda work: verification_verbs.retry_of(work, subject, destination))
        changed = replace(changed, verifications=asked)
        if destination:
            return changed
        return self._database.transact(
            lambda work: replace(changed, stages=actions.retry_stages(work, subject))
        )

    def cancel(self, subject: Subject, *, destination: str = "") -> Changed:
        """End what is open for good, and what joins a job or a study later. Bytes stay where nobody else has them."""
        done: list[Changed] = []
        more = True
        while more:
            changed, more = self._database.transact(
                lambda work: cancelling.cancel(work, subject, destination)
            )
            done.append(changed)
        return _together(done)

    def end_cancelled(self) -> int:
        """Cancel what came since an order to cancel it; how many transfers that were."""
        ended = 0
        while True:
            with self._database.read() as work:
                named = joining.held_to_cancel(work)
            if not named:
                return ended
            now = self._database.transact(partial(joining.end_cancelled, transfer_ids=next(chunks(named))))
            if not now:  # somebody else was faster, or released them
                return ended
            ended += now

    def replay(
        self, order: ReplayOrder, *, in_archive: Callable[[Sequence[str]], Set[str]] = set
    ) -> Replayed:
        """Queue instances of a subject once more, as a new job; see `ReplayOrder`.

        Destinations must be known by name: `Ledger.sync_destinations` first, for an address.

        Parameters
        ----------
        in_archive : callable
            Of these SOP Instance UIDs those whose bytes the archive really has; by default all that the ledger calls archived.
            Asked of those that the spool has no more, before anything is queued; it may raise what it likes.
        """
        with self._database.read() as work:
            plan = replaying.plan(work, order)
        gone = set(plan.archived) - in_archive(plan.archived) if plan.archived else set()
        portions = [
            self._database.transact(
                partial(replaying.queue, order=order, instance_ids=part, names=plan.destinations, gone=gone)
            )
            for part in chunks(plan.instance_ids, replaying.INSTANCES_AT_ONCE)
        ]
        if any(portion.rows for portion in portions):
            self._database.transact(lambda work: jobs.complete(work, order.job_id))
        return replaying.outcome(order, plan, portions)

    def jobs(self, *, limit: int, state: TransferState | None = None) -> tuple[JobRow, ...]:
        """The newest jobs, and the newest studies that came over the network; those only that have a transfer in `state`."""
        with self._database.read() as work:
            return joblist.newest(work, limit=limit, state=state)

    def job(self, subject: Subject) -> JobRow:
        """One subject in figures.

        Raises
        ------
        LedgerError
            It is gone, or it is everything.
        """
        with self._database.read() as work:
            return jobshow.one(work, subject)

    def reasons(self, subject: Subject, *, limit: int = 5) -> tuple[Reason, ...]:
        """Why deliveries of a subject were refused or failed, the most frequent of each first."""
        with self._database.read() as work:
            return jobshow.reasons(work, subject, limit=limit)

    def held(self) -> int:
        """How many transfers somebody holds."""
        with self._database.read() as work:
            return jobshow.held(work)

    def stopped(self) -> tuple[StoppedDestination, ...]:
        """The destinations that nothing is sent to at present, by name."""
        with self._database.read() as work:
            return jobshow.stopped(work)

    def transfers(self, subject: Subject, *, limit: int) -> tuple[TransferRow, ...]:
        """The transfers of a subject, those that are open first."""
        with self._database.read() as work:
            return jobshow.transfers_of(work, subject, limit=limit)


def _together(done: list[Changed]) -> Changed:
    """Portions as one: every change, and what was left without one."""
    earlier = Counter(change.after for changed in done[:-1] for change in changed.changes)
    last = done[-1]
    return replace(
        last,
        changes=tuple(change for changed in done for change in changed.changes),
        unchanged=Counter(last.unchanged) - earlier,
    )
