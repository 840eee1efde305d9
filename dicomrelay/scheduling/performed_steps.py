"""Performed procedure steps in the database: made, changed, read, forwarded (docs/design/mpps.md). One transaction a call."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import Final

from pydicom.dataset import Dataset
from sqlalchemy import func, select

from dicomrelay.dicom.performed_step import ObjectStatus, StepState
from dicomrelay.ledger.engine import Database
from dicomrelay.ledger.texts import storable
from dicomrelay.scheduling import performed_expected, performed_queue, performed_writing
from dicomrelay.scheduling.performed_expected import Expected
from dicomrelay.scheduling.performed_reading import attributes_of, read_messages, read_rows
from dicomrelay.scheduling.performed_rules import StepRefused, created
from dicomrelay.scheduling.performed_schema import performed_forwards, performed_messages, performed_steps
from dicomrelay.scheduling.performed_values import (
    ClaimedForward,
    ForwardPeer,
    MessageRow,
    StepMessage,
    StepRow,
)

# Of an N-SET that others overtake.
_TURNS: Final = 20


class PerformedSteps:
    """The steps. For many threads; not across a fork.

    Every method raises ServiceUnavailable when the database does not answer, and LedgerError when it was never migrated;
    nothing of its call is then written.

    Parameters
    ----------
    peers : sequence of ForwardPeer
        Who gets the messages of the steps that are made from now on.
    strict : bool
        Whether attributes of type 2 must be there.
    others_may : collection of str
        What may be asked of a step by an AE title that did not make it: "set", "get".
    """

    def __init__(
        self,
        database: Database,
        peers: Sequence[ForwardPeer] = (),
        *,
        strict: bool = True,
        others_may: Collection[str] = (),
    ) -> None:
        self._database = database
        self._peers = tuple(peers)
        self._strict = strict
        self._others_may = frozenset(others_may)

    @classmethod
    def open(
        cls,
        url: str,
        peers: Sequence[ForwardPeer] = (),
        *,
        strict: bool = True,
        others_may: Collection[str] = (),
    ) -> PerformedSteps:
        """Those of the ledger at this URL. Raises ConfigurationError when it is of no database that we know."""
        return cls(Database(url, guarded=True), peers, strict=strict, others_may=others_may)

    def dispose(self) -> None:
        """Close every connection."""
        self._database.dispose()

    # ---- what a modality asks for

    def create(self, message: StepMessage) -> None:
        """N-CREATE a step; it is durable when this returns.

        Raises
        ------
        StepRefused
            0111 when there is one of that UID; 0120, 0121, 0106.
        """
        step = performed_writing.prepared(created(message.attributes, strict=self._strict))
        names = [peer.name for peer in self._peers if peer.wants(step.facts.modality)]
        self._database.transact(lambda work: performed_writing.create(work, message, step, names))

    def change(self, message: StepMessage) -> StepState:
        """N-SET a step; what it is now is durable when this returns.

        Returns
        -------
        StepState
            The step's after it.

        Raises
        ------
        StepRefused
            0112 when there is none of that UID; 0124 when another AE title has made it; 0110 with Error ID A710 when it
            is final; 0105, 0106, 0121; 0213 after 1,000 messages, or 32 Mi characters of DICOM JSON.
        """
        by_anybody = "set" in self._others_may

        for _ in range(_TURNS):
            with self._database.read() as work:
                step = performed_writing.prepared_change(
                    work, message, strict=self._strict, by_anybody=by_anybody
                )
            if self._database.transact(partial(performed_writing.change, message=message, step=step)):
                return step.facts.state
        raise StepRefused(
            ObjectStatus.RESOURCE_LIMITATION, "other messages about the step come all the while"
        )

    def attributes(self, sop_instance_uid: str, caller: str | None = None) -> Dataset:
        """A step with all its attributes, text as Unicode.

        Parameters
        ----------
        caller : str, optional
            The AE title that asks; None for who may see all.

        Raises
        ------
        StepRefused
            0112 when there is none of that UID; 0124 when another AE title has made it.
        """
        columns = performed_steps.c
        with self._database.read() as work:
            row = work.connection.execute(
                select(columns.attributes, columns.calling_ae_title).where(
                    columns.sop_instance_uid == sop_instance_uid
                )
            ).first()
        if row is None:
            raise performed_writing.no_such_step()
        if not (caller is None or "get" in self._others_may or row.calling_ae_title == storable(caller)):
            raise performed_writing.of_another()
        return attributes_of(row.attributes)

    def taken(self, age_ms: int) -> dict[str, int]:
        """Bytes of the messages that came in so long a time, by who sent them."""
        said, messages = performed_steps.c, performed_messages.c
        with self._database.read() as work:
            since = work.now - age_ms
            # By the index of what changed: what came today is not read from all that is kept.
            rows = work.connection.execute(
                select(messages.calling_ae_title, func.sum(func.length(messages.data_set)))
                .join(performed_steps, said.sop_instance_uid == messages.sop_instance_uid)
                .where(said.changed_at >= since, messages.at >= since)
                .group_by(messages.calling_ae_title)
            ).all()
        return {title: int(size) for title, size in rows}

    # ---- what people ask for

    def steps(
        self,
        *,
        state: StepState | None = None,
        study_instance_uid: str = "",
        is_stuck: bool = False,
        limit: int = 100,
    ) -> tuple[StepRow, ...]:
        """The steps that changed last, the newest first; with their studies and forwards.

        Parameters
        ----------
        is_stuck : bool
            Only those of which a message needs attention.
        """
        with self._database.read() as work:
            return read_rows(
                work, state=state, study_instance_uid=study_instance_uid, is_stuck=is_stuck, limit=limit
            )

    def step(self, sop_instance_uid: str) -> StepRow | None:
        """One of them."""
        with self._database.read() as work:
            return next(iter(read_rows(work, sop_instance_uid=sop_instance_uid, limit=1)), None)

    def messages(self, sop_instance_uid: str) -> tuple[MessageRow, ...]:
        """The messages of a step, in the order in which they came."""
        with self._database.read() as work:
            return read_messages(work, sop_instance_uid)

    # ---- forwarding: see performed_queue

    def claim(self, destination: str, *, owner: str, lease_ms: int, limit: int) -> tuple[ClaimedForward, ...]:
        """Take what is due for a peer."""
        if not self._is_due(destination):
            return ()
        return self._database.transact(
            lambda work: performed_queue.claim(work, destination, owner=owner, lease_ms=lease_ms, limit=limit)
        )

    def begin(self, claimed: ClaimedForward, *, lease_ms: int) -> bool:
        """It is about to be said; False when another runner has claimed it since."""
        return self._database.transact(lambda work: performed_queue.begin(work, claimed, lease_ms=lease_ms))

    def renew(self, claimed: Sequence[ClaimedForward], *, lease_ms: int) -> int:
        """Say that these are still looked after; how many are ours."""
        return self._database.transact(lambda work: performed_queue.renew(work, claimed, lease_ms=lease_ms))

    def owners(self, destination: str) -> frozenset[str]:
        """Who holds messages for a peer."""
        with self._database.read() as work:
            return performed_queue.owners(work, destination)

    def end_leases(self, destination: str, gone: Collection[str]) -> int:
        """What these hold for a peer is due now; how many messages that are."""
        if not gone:
            return 0
        return self._database.transact(lambda work: performed_queue.end_leases(work, destination, gone))

    def sent(self, claimed: ClaimedForward, status: int, reason: str = "") -> bool:
        """The peer has it; False when another runner has claimed it since."""
        return self._database.transact(lambda work: performed_queue.sent(work, claimed, status, reason))

    def later(
        self,
        claimed: ClaimedForward,
        due_in_ms: int,
        *,
        reason: str,
        status: int | None = None,
        was_sent: bool = False,
    ) -> bool:
        """It did not go through, this time; `was_sent` when the peer may have had it."""
        return self._database.transact(
            lambda work: performed_queue.later(
                work, claimed, due_in_ms, status=status, reason=reason, was_sent=was_sent
            )
        )

    def hand_back(self, claimed: Sequence[ClaimedForward]) -> None:
        """These were not begun."""
        if claimed:
            self._database.transact(lambda work: performed_queue.hand_back(work, claimed))

    def give_up(
        self, claimed: ClaimedForward, *, status: int | None, reason: str, was_sent: bool = False
    ) -> bool:
        """It needs attention; `was_sent` when the peer may have had it."""
        return self._database.transact(
            lambda work: performed_queue.give_up(work, claimed, status, reason, was_sent=was_sent)
        )

    def retry(self, sop_instance_uid: str = "", known: Collection[str] | None = None) -> int:
        """Try again now what needs attention or waits, of one step or of all, for these peers or all; how many messages."""
        return self._database.transact(lambda work: performed_queue.retry(work, sop_instance_uid, known))

    def drop(self, sop_instance_uid: str, destination: str) -> int:
        """Tell a peer nothing more of a step; how many messages it has not heard."""
        return self._database.transact(lambda work: performed_queue.drop(work, sop_instance_uid, destination))

    def orphaned(self, known: Collection[str], reason: str) -> int:
        """What is for nobody of `known` needs attention; how many messages that are."""
        columns = performed_forwards.c
        with self._database.read() as work:  # asked all the while, and nothing to write as a rule
            query = select(columns.number).where(
                columns.due_at.is_not(None), columns.destination.not_in(sorted(known))
            )
            if work.connection.execute(query.limit(1)).first() is None:
                return 0
        return self._database.transact(lambda work: performed_queue.orphaned(work, known, reason))

    # ---- beside

    def now(self) -> int:
        """The database's time, in milliseconds since 1970."""
        with self._database.read() as work:
            return work.now

    def expected(self, *, since: int = 0, limit: int = 100) -> tuple[Expected, ...]:
        """Of studies that wait: how many instances they will have, by what their steps say. Reads.

        Parameters
        ----------
        since : int
            Only those of which something has changed since that time of `now`.
        limit : int
            Studies of one read.
        """
        found: list[Expected] = []
        behind: tuple[int, str] | None = None
        while True:
            with self._database.read() as work:
                page = performed_expected.expected(work, since=since, behind=behind, limit=limit)
            found += page.found
            if page.last is None:
                return tuple(found)
            behind = page.last

    def prune(self, *, age_ms: int, limit: int = 1000) -> int:
        """Remove steps that changed last so long ago, are over, and have gone everywhere; how many went.

        What is IN PROGRESS is over when nobody has said anything of it for 30 days.
        """
        return self._database.transact(lambda work: performed_writing.prune(work, age_ms=age_ms, limit=limit))

    # ---- inside

    def _is_due(self, destination: str) -> bool:
        """A read that an index answers: a look writes nothing while there is nothing to do."""
        columns = performed_forwards.c
        with self._database.read() as work:
            query = select(func.count()).where(columns.destination == destination, columns.due_at <= work.now)
            return bool(work.connection.execute(query).scalar_one())
