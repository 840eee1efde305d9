"""One request for commitment on its way to a report on the same association."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from dicomrelay.dicom.commitment import ReportStatus
from dicomrelay.dimse.commitment_request import CommitmentResult, encode_report
from dicomrelay.errors import RelayError
from dicomrelay.log import get_logger
from dicomrelay.net.service import EventReport
from dicomrelay.settings.retrieve import CommitmentSettings

if TYPE_CHECKING:
    from scp_gateway.archive_port import CommitmentDesk, KeptRequest

_log = get_logger("dicomrelay.gateway")
# What the archive does not have yet may come the next moment.
_AGAIN_S: Final = 0.5
_RETRY_MS: Final = 5000


class ReportWatch:
    """A `net.service.DueReport`: a thread looks into the archive, the association's own asks what came of it.

    Parameters
    ----------
    over : callable
        Called once when the thread ends.
    """

    def __init__(
        self,
        desk: CommitmentDesk,
        kept: KeptRequest,
        settings: CommitmentSettings,
        transfer_syntax_uid: str,
        ae_title: str,
        over: Callable[[], None],
    ) -> None:
        self._desk = desk
        self._kept = kept
        self._settings = settings
        self._syntax = transfer_syntax_uid
        self._ae_title = ae_title
        self._over = over
        self._until = time.monotonic() + settings.same_association_s
        self._stop = threading.Event()
        self._done = threading.Event()
        self._result: CommitmentResult | None = None

    def start(self) -> None:
        """Begin to look."""
        try:
            threading.Thread(target=self._run, name="commitment", daemon=True).start()
        except RuntimeError:  # no thread is left
            self._done.set()
            self._over()

    def ready(self) -> EventReport | bool:
        """The report, once it is known; no more when the time for it on this association is over."""
        if not self._done.is_set():
            if time.monotonic() < self._until:
                return True
            self._stop.set()
            self.leave_to_others()
            return False
        result = self._result
        if result is None:
            self.leave_to_others()
            return False
        information = encode_report(
            self._kept.transaction_uid, result, self._syntax, retrieve_ae_title=self._ae_title
        )
        return EventReport(result.event_type, information, self._answered)

    def gone(self) -> None:
        """The association is over before there was something to report."""
        self._stop.set()
        self.leave_to_others()

    def leave_to_others(self) -> None:
        """The scheduler reports, on an association of ours, as soon as it looks."""
        self._put_off(0, attempted=False)

    # ---- inside

    def _run(self) -> None:
        try:
            while self._goes_on():
                self._result = self._desk.settled(
                    self._kept, wait_ms=round(self._settings.wait_s * 1000), keep_going=self._goes_on
                )
                if self._result is not None or self._stop.wait(_AGAIN_S):
                    break
        except (RelayError, OSError) as error:
            _log.warning(
                "cannot look for what is to be committed to", action="commitment.later", error=str(error)
            )
        finally:
            self._done.set()
            self._over()

    def _goes_on(self) -> bool:
        return not self._stop.is_set() and time.monotonic() < self._until

    def _answered(self, status: int | None) -> None:
        _log.info(
            "commitment report",
            action="commitment.reported" if status == ReportStatus.SUCCESS else "commitment.not-reported",
            transaction_uid=self._kept.transaction_uid,
            peer_ae_title=self._kept.peer_ae_title,
            same_association=True,
            status=None if status is None else f"0x{status:04X}",
        )
        if status == ReportStatus.SUCCESS:
            self._desk.answered(self._kept)
        else:
            self._put_off(0 if status is None else _RETRY_MS, attempted=status is not None)

    def _put_off(self, due_in_ms: int, *, attempted: bool) -> None:
        with suppress(RelayError):  # it is due by itself when its time on the association is over
            self._desk.later(self._kept, due_in_ms, attempted=attempted)
