"""Reports of storage commitment to the peers that asked for it, on associations of ours (docs/design/commitment-scp.md)."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Callable
from typing import Final

from archive.committing import CommitmentDesk, KeptRequest, State
from dicomrelay.dicom.commitment import ReportStatus
from dicomrelay.dimse.commitment_request import CommitmentResult, encode_report
from dicomrelay.errors import RelayError
from dicomrelay.log import get_logger
from dicomrelay.net.commitment import COMMITMENT_CONTEXTS
from dicomrelay.net.commitment_report import REPORT_ROLES, send_report
from dicomrelay.net.limits import Timeouts
from dicomrelay.net.peer import RemotePeer
from dicomrelay.net.proposal import RemoteAe
from dicomrelay.routing import resolve
from dicomrelay.settings import Settings
from workers.rooms import Rooms

_log = get_logger("dicomrelay.commitment")

_LOOK_EVERY_S: Final = 1.0
_AT_ONCE: Final = 16
# Nobody else claims a request for so long; said again while it is looked after.
_LEASE_MS: Final = 120_000
_SAY_AGAIN_S: Final = 20.0
# What the archive does not have yet is looked for again.
_WAIT_MS: Final = 2000
_RETRY_MS, _RETRY_MAX_MS = 5000, 600_000
_PRUNE_EVERY_S: Final = 3600.0
KEPT_MS: Final = 30 * 86_400_000
# The peer knows of no such transaction, or of no such service: it will not know better the next time.
_FOR_GOOD: Final = frozenset(
    {
        ReportStatus.NO_SUCH_SOP_INSTANCE,
        ReportStatus.NO_SUCH_EVENT_TYPE,
        ReportStatus.INVALID_ARGUMENT_VALUE,
        ReportStatus.NO_SUCH_SOP_CLASS,
    }
)


def report_until(rooms: Rooms, stop: threading.Event) -> None:
    """Report what is due until `stop` is set."""
    reporter = Reporter(rooms, stop)
    pruned_at = 0.0
    while not stop.wait(_LOOK_EVERY_S):
        try:
            while reporter.report_due() and not stop.is_set():
                pass
            if time.monotonic() - pruned_at > _PRUNE_EVERY_S or not pruned_at:
                pruned_at = time.monotonic()
                rooms.archive.commitments.prune(older_than_ms=KEPT_MS)
        except RelayError as error:  # the index does not answer; what was claimed is due again by itself
            _log.debug("cannot look for what is to be reported", reason=str(error))


def reporter_of(settings: Settings, ae_title: str) -> RemotePeer | None:
    """Where the peer of that AE title listens for reports; None when the settings do not say.

    Raises
    ------
    ConfigurationError
        A file of its TLS or identity cannot be used.
    """
    for each in settings.destinations:
        if each.ae_title == ae_title:
            return resolve(each.name, settings.destinations).peer(settings.gateway)
    for peer in settings.peers:
        if peer.port is not None and peer.ae_title.strip() == ae_title and _is_address(peer.host):
            remote = RemoteAe(ae_title, peer.host, peer.port)
            return RemotePeer(remote, settings.gateway.ae_title, Timeouts(response_s=60))
    return None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class Reporter:
    """Reports to one peer after the other. A peer that was not there holds up nobody else: its other reports wait as long.

    Parameters
    ----------
    clock : callable
        Monotonic, in seconds.
    """

    def __init__(
        self, rooms: Rooms, stop: threading.Event, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rooms = rooms
        self._stop = stop
        self._clock = clock
        self._desk = CommitmentDesk(rooms.archive, rooms.ledger.came, rooms.spool.has_arrivals_until)
        self._absent: dict[str, float] = {}  # AE title to when it is tried again

    def report_due(self) -> int:
        """Look after the requests whose time it is; how many were settled, one way or the other.

        Raises
        ------
        ServiceUnavailable
            The index does not answer.
        """
        settled = 0
        for kept in self._desk.index.claim(limit=_AT_ONCE, lease_ms=_LEASE_MS):
            if self._stop.is_set():
                self._later(kept, 0)
                continue
            absent_s = self._absent.get(kept.peer_ae_title, 0.0) - self._clock()
            if absent_s > 0:
                self._later(kept, round(absent_s * 1000))
                continue
            settled += self._look_after(kept)
        return settled

    # ---- inside

    def _look_after(self, kept: KeptRequest) -> bool:
        """Whether it is over with that one."""
        result = self._desk.settled(
            kept,
            wait_ms=round(self._rooms.settings.commitment.wait_s * 1000),
            keep_going=lambda: not self._stop.is_set(),
            moved=_Lease(self._desk, kept, self._clock),
        )
        if result is None:
            self._later(kept, _WAIT_MS)
            return False
        try:
            peer = reporter_of(self._rooms.settings, kept.peer_ae_title)
            if peer is None:
                return self._given_up(
                    kept, "nothing says where it listens: [[destinations]], or port in [[peers]]"
                )
            self._desk.later(kept, _LEASE_MS)
            status = self._reported(peer, kept, result)
        except (RelayError, OSError) as error:
            self._absent[kept.peer_ae_title] = self._clock() + self._wait_ms(kept) / 1000
            return self._failed(kept, f"{type(error).__name__}: {error}")
        self._absent.pop(kept.peer_ae_title, None)
        if status == ReportStatus.SUCCESS:
            self._desk.answered(kept)
            self._tell(kept, result, "reported")
            return True
        if status in _FOR_GOOD:
            return self._given_up(kept, f"the peer answered the report with 0x{status:04X}")
        return self._failed(kept, f"the peer answered the report with 0x{status:04X}")

    def _reported(self, peer: RemotePeer, kept: KeptRequest, result: CommitmentResult) -> int:
        with peer.associate(COMMITMENT_CONTEXTS, REPORT_ROLES) as association:
            return send_report(
                association,
                result.event_type,
                lambda syntax: encode_report(
                    kept.transaction_uid,
                    result,
                    syntax,
                    retrieve_ae_title=self._rooms.settings.gateway.ae_title,
                ),
            )

    def _failed(self, kept: KeptRequest, why: str) -> bool:
        """It did not go through, this time."""
        if kept.attempts + 1 >= self._rooms.settings.commitment.attempts:
            return self._given_up(kept, f"{why}; the attempts are used up")
        self._later(kept, self._wait_ms(kept), attempted=True)
        _log.warning(
            "commitment report failed",
            action="commitment.not-reported",
            transaction_uid=kept.transaction_uid,
            peer_ae_title=kept.peer_ae_title,
            attempt=kept.attempts + 1,
            reason=why,
        )
        return False

    def _given_up(self, kept: KeptRequest, why: str) -> bool:
        self._desk.index.end(kept.id, State.FAILED)
        _log.error(
            "commitment report given up",
            action="commitment.given-up",
            transaction_uid=kept.transaction_uid,
            peer_ae_title=kept.peer_ae_title,
            reason=why,
        )
        return True

    def _wait_ms(self, kept: KeptRequest) -> int:
        return int(min(_RETRY_MS * 2 ** min(kept.attempts, 20), _RETRY_MAX_MS))

    def _later(self, kept: KeptRequest, due_in_ms: int, *, attempted: bool = False) -> None:
        self._desk.later(kept, due_in_ms, attempted=attempted)

    def _tell(self, kept: KeptRequest, result: CommitmentResult, what: str) -> None:
        _log.info(
            "commitment report",
            action=f"commitment.{what}",
            transaction_uid=kept.transaction_uid,
            peer_ae_title=kept.peer_ae_title,
            committed=len(result.committed),
            failed=len(result.failed),
            same_association=False,
        )


class _Lease:
    """Says now and then that a request is still looked after; called for each instance."""

    def __init__(self, desk: CommitmentDesk, kept: KeptRequest, clock: Callable[[], float]) -> None:
        self._desk = desk
        self._kept = kept
        self._clock = clock
        self._said_at = clock()

    def __call__(self) -> None:
        now = self._clock()
        if now - self._said_at >= _SAY_AGAIN_S:
            self._said_at = now
            self._desk.later(self._kept, _LEASE_MS)
