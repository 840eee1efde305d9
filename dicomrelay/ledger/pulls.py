"""The room of pulls in the ledger: one transaction a call (docs/design/pulls.md)."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from dicomrelay.ledger import pulls_claims, pulls_here, pulls_orders, pulls_polls, pulls_summary
from dicomrelay.ledger.engine import Database
from dicomrelay.ledger.values_pulls import (
    ClaimedStep,
    DueStep,
    Fetched,
    Listed,
    Missing,
    NewPull,
    PollState,
    PullRow,
    PullState,
    StepRow,
    StepState,
)


class Pulls:
    """Pulls and their steps.

    Every method raises ServiceUnavailable when the database does not answer; nothing of its call is then written.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    # Orders

    def order(self, new: NewPull) -> str | None:
        """Make a pull, whose question is due now; its id. None when one with its `only_once` is there."""
        return self._database.transact(lambda work: pulls_orders.order(work, new))

    def order_poll(self, new: NewPull, *, every_ms: int, force: bool = False) -> str | None:
        """Make the pull of a poll, and the next one due after `every_ms`; None when it is not due, or its last is still open.

        Parameters
        ----------
        force : bool
            Also when it is not due.
        """
        return self._database.transact(
            lambda work: pulls_polls.order_poll(work, new, every_ms=every_ms, force=force)
        )

    def polls(self, names: Sequence[str]) -> tuple[PollState, ...]:
        """What is known of polls, in the order of their names; one that never was is due."""
        with self._database.read() as work:
            return pulls_polls.polls(work, names)

    def cancel(self, pull_id: str) -> PullState | None:
        """End it; what came stays, and what is under way stops. Its state now: a complete one stays so. None: no such pull."""
        return self._database.transact(lambda work: pulls_orders.cancel(work, pull_id))

    def retry(self, pull_id: str) -> int | None:
        """Try again now what was given up or waits; how many steps that are. None: no such pull."""
        return self._database.transact(lambda work: pulls_orders.retry(work, pull_id))

    # Work

    def open_windows(self) -> dict[str, tuple[str, ...]]:
        """Pulls that are open and have time windows, by id."""
        with self._database.read() as work:
            return pulls_summary.open_policies(work)

    def due(self, *, limit: int, closed: Collection[str] = ()) -> tuple[DueStep, ...]:
        """Steps that can be claimed now, those that go first first: for each source as many as it has places.

        Parameters
        ----------
        closed : collection of str
            Ids of pulls to leave out: outside of their time windows.
        """
        with self._database.read() as work:
            return pulls_claims.due(work, limit=limit, closed=closed)

    def claim(self, step_id: str, *, owner: str, lease_ms: int) -> ClaimedStep | None:
        """Take a step for `lease_ms`.

        None when it is leased, over, not due, unknown, its source has as many running as the pull allows, is held, or its
        breaker lets nobody through.
        """
        return self._database.transact(
            lambda work: pulls_claims.claim(work, step_id, owner=owner, lease_ms=lease_ms)
        )

    def renew(self, step_id: str, fence: int, *, lease_ms: int, here: int | None = None) -> bool:
        """Hold the lease for `lease_ms` from now, and note how many instances are here. False when it is ours no more."""
        return self._database.transact(
            lambda work: pulls_claims.renew(work, step_id, fence, lease_ms=lease_ms, here=here)
        )

    def counted(self, step_id: str, fence: int, fetched: Fetched) -> bool:
        """Note what is announced and here before anything is retrieved. False as `renew`."""
        return self._database.transact(lambda work: pulls_claims.counted(work, step_id, fence, fetched))

    def answered(
        self, step_id: str, fence: int, listed: Sequence[Listed], *, truncated: bool
    ) -> PullState | None:
        """The question was answered: a step for each that was named. What the pull is now; None when the lease is not ours.

        Parameters
        ----------
        truncated : bool
            There are more than were asked for.
        """
        return self._database.transact(
            lambda work: pulls_orders.answered(work, step_id, fence, listed, truncated=truncated)
        )

    def hand_back(
        self,
        step_id: str,
        fence: int,
        *,
        retry_in_ms: int | None,
        reason: str,
        advice: str = "",
        counted: bool = True,
    ) -> bool:
        """It could not be tried. False as `renew`.

        Parameters
        ----------
        retry_in_ms : int, optional
            When to try again; None: it is given up.
        counted : bool
            Whether it was an attempt.
        """
        return self._database.transact(
            lambda work: pulls_claims.hand_back(
                work,
                step_id,
                fence,
                retry_in_ms=retry_in_ms,
                reason=reason,
                advice=advice,
                counted=counted,
            )
        )

    def finish(
        self,
        step_id: str,
        fence: int,
        fetched: Fetched,
        *,
        retry_in_ms: int | None,
        rounds: int,
        reason: str = "",
        advice: str = "",
    ) -> StepState | None:
        """Write what an attempt came to: with a proof it is done. What the step is now; None when the lease is not ours.

        Parameters
        ----------
        retry_in_ms : int, optional
            When to try again, without a proof; None: it is given up.
        rounds : int
            Retrievals in a row that brought nothing new, this one counted; with 0 its attempts count anew.
        """
        return self._database.transact(
            lambda work: pulls_claims.finish(
                work,
                step_id,
                fence,
                fetched,
                retry_in_ms=retry_in_ms,
                rounds=rounds,
                reason=reason,
                advice=advice,
            )
        )

    def is_ours(self, step_id: str, fence: int) -> bool:
        """Whether the lease is still ours: nobody cancelled it, nobody else claimed it."""
        with self._database.read() as work:
            return pulls_claims.is_ours(work, step_id, fence)

    def here(self, sop_instance_uids: Sequence[str], *, since_ms: int) -> set[str]:
        """Of these instances those in the spool, and those that came since that time; what only the archive has is its to say."""
        with self._database.read() as work:
            return pulls_here.here(work, sop_instance_uids, since_ms=since_ms)

    def count_here(
        self, study_instance_uids: Sequence[str], *, series_instance_uid: str = "", archived_only: bool = True
    ) -> dict[str, int]:
        """How many instances of these studies, or of that series, are in the spool or the archive.

        Parameters
        ----------
        archived_only : bool
            Of what has left the spool only what the archive took; False where there is no archive.
        """
        with self._database.read() as work:
            return pulls_here.count_here(
                work,
                study_instance_uids,
                series_instance_uid=series_instance_uid,
                archived_only=archived_only,
            )

    # Reports

    def newest(self, *, limit: int, states: Sequence[PullState] = ()) -> tuple[PullRow, ...]:
        """The newest pulls, of all states or of these."""
        with self._database.read() as work:
            return pulls_summary.newest(work, limit=limit, states=states)

    def one(self, pull_id: str) -> PullRow | None:
        """How a pull stands; None when there is none of that id."""
        with self._database.read() as work:
            return pulls_summary.one(work, pull_id)

    def standing(self) -> dict[str, int]:
        """How many pulls are open, or ended and left something that is not here, by state."""
        with self._database.read() as work:
            return pulls_summary.standing(work)

    def ids_like(self, beginning: str) -> list[str]:
        """Ids that begin so, up to ten."""
        with self._database.read() as work:
            return pulls_summary.ids_like(work, beginning)

    def steps(self, pull_id: str, *, limit: int) -> tuple[StepRow, ...]:
        """The steps of a pull: what runs, what was given up, what waits, and the rest."""
        with self._database.read() as work:
            return pulls_summary.steps(work, pull_id, limit=limit)

    def missing(self, pull_id: str, *, limit: int) -> tuple[tuple[str, Missing], ...]:
        """What a pull looked for and did not get, with its Study Instance UID."""
        with self._database.read() as work:
            return pulls_summary.missing(work, pull_id, limit=limit)
