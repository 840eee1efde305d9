"""Messages about performed procedure steps to other systems, one after the other (docs/design/mpps.md)."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from dicomrelay.dicom.performed_step import (
    MODALITY_PERFORMED_PROCEDURE_STEP,
    NO_LONGER_UPDATED_ERROR_ID,
    TAKEN,
    ObjectStatus,
)
from dicomrelay.dicom.status import Outcome, status_name, status_row
from dicomrelay.dimse.identifier import decode_identifier, encode_identifier
from dicomrelay.errors import ConfigurationError, MalformedDataSet, RelayError
from dicomrelay.log import get_logger
from dicomrelay.net.identity import shown_identity
from dicomrelay.net.limits import Timeouts
from dicomrelay.net.object_scu import ObjectAnswer, ObjectScu, object_contexts
from dicomrelay.net.peer import RemotePeer
from dicomrelay.net.proposal import RemoteAe
from dicomrelay.net.tls import requestor_context
from dicomrelay.routing.retry import RetryPolicy, retry_delay_s
from dicomrelay.runtime.owner import is_gone, own_name
from dicomrelay.scheduling.performed_steps import PerformedSteps
from dicomrelay.scheduling.performed_values import ClaimedForward, MessageKind
from dicomrelay.settings import Settings
from dicomrelay.settings.performed import StepDestinationSettings
from workers.lease import LEASE_MS, LeaseKeeper

_log = get_logger("dicomrelay.performed")

_AT_ONCE: Final = 16


def peer_of(settings: Settings, destination: StepDestinationSettings) -> RemotePeer:
    """How it is called, with its certificates and token as their files are now.

    Raises
    ------
    ConfigurationError
        A file of its TLS or identity cannot be used; it names the file and the setting.
    """
    tls, identity = destination.tls, destination.identity
    where = f"performed_procedure_steps.destinations.{destination.name}"
    return RemotePeer(
        RemoteAe(destination.ae_title, destination.host, destination.port),
        destination.calling_ae_title or settings.gateway.ae_title,
        Timeouts(connect_s=destination.connect_timeout_s, response_s=destination.response_timeout_s),
        tls=requestor_context(tls, where=f"{where}.tls") if tls else None,
        identity=shown_identity(identity, where=f"{where}.identity") if identity else None,
    )


@dataclass(slots=True)
class _UnderWay:
    """Claimed messages on an association.

    Attributes
    ----------
    left : list of ClaimedForward
        What was not answered yet, in its order.
    is_said : bool
        The first of them is on its way, or was.
    taken : int
        How many the peer has taken.
    """

    left: list[ClaimedForward]
    is_said: bool = False
    taken: int = 0


class Forwarder:
    """Sends messages to one peer, one after the other.

    Parameters
    ----------
    clock : callable
        Monotonic, in seconds.
    """

    def __init__(
        self,
        settings: Settings,
        destination: StepDestinationSettings,
        steps: PerformedSteps,
        stop: threading.Event,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._destination = destination
        self._steps = steps
        self._stop = stop
        self._clock = clock
        self._retry = RetryPolicy(
            destination.retry_initial_s, destination.retry_max_s, destination.retry_attempts
        )
        self._failures = 0  # associations in a row that ended before their time
        self._absent_until = 0.0
        self._is_new = True

    def forward_due(self) -> int:
        """Send what is due; how many messages the peer has taken.

        Raises
        ------
        ServiceUnavailable
            The database does not answer.
        """
        if self._clock() < self._absent_until:
            return 0
        name = self._destination.name
        if self._is_new:  # what a process of this host held that was killed waits for no lease
            self._steps.end_leases(name, [each for each in self._steps.owners(name) if is_gone(each)])
            self._is_new = False
        claimed = self._steps.claim(name, owner=own_name(), lease_ms=LEASE_MS, limit=_AT_ONCE)
        if not claimed:
            return 0
        under_way = _UnderWay(list(claimed))
        try:
            with LeaseKeeper(lambda: self._renewed(under_way), patience_s=self._patience_s) as lease:
                self._send(under_way, lease)
        except (RelayError, OSError) as error:
            self._fail(under_way.left, f"{type(error).__name__}: {error}", under_way.is_said)
            return under_way.taken
        self._failures = 0
        self._steps.hand_back(under_way.left)
        return under_way.taken

    # ---- inside

    def _send(self, under_way: _UnderWay, lease: LeaseKeeper) -> None:
        """Say one after the other, as long as they are ours."""
        left = under_way.left
        with peer_of(self._settings, self._destination).associate(
            object_contexts(MODALITY_PERFORMED_PROCEDURE_STEP)
        ) as association:
            scu = ObjectScu(association, MODALITY_PERFORMED_PROCEDURE_STEP)
            while left and not self._stop.is_set() and not lease.lost:
                lease.progress()
                fitting = _fitting(scu, left[0])
                if fitting is None:
                    self._give_up(left.pop(0), None, "it cannot be written in a transfer syntax of the peer")
                    continue
                if not self._steps.begin(left[0], lease_ms=LEASE_MS):
                    left.pop(0)  # another runner has it
                    continue
                under_way.is_said = True
                answer = _asked(scu, left[0], *fitting)
                under_way.is_said = False
                under_way.taken += self._judge(left.pop(0), answer)

    def _renewed(self, under_way: _UnderWay) -> bool:
        left = tuple(under_way.left)
        return not left or self._steps.renew(left, lease_ms=LEASE_MS) > 0

    @property
    def _patience_s(self) -> float:
        """As long as the peer may take."""
        return 2 * (self._destination.connect_timeout_s + self._destination.response_timeout_s)

    def _judge(self, each: ClaimedForward, answer: ObjectAnswer) -> bool:
        """Write down what the peer said of a message; whether it has it."""
        status, error_id = answer.response.status, answer.response.error_id
        if status in TAKEN:
            return self._taken(each, status, "")
        if each.kind is MessageKind.CREATE and status == ObjectStatus.DUPLICATE_SOP_INSTANCE:
            return self._taken(each, status, "the peer has the step already")
        is_final = status == ObjectStatus.PROCESSING_FAILURE and error_id == NO_LONGER_UPDATED_ERROR_ID
        if is_final and each.was_uncertain:
            return self._taken(each, status, "the peer had the message before")
        reason = f"the peer answered 0x{status:04X}, {status_name(status).lower()}"
        if is_final:
            reason = "at the peer the step is final already"
        jitter = random.random()  # noqa: S311 - spreads load, keeps no secret
        delay_s = self._retry.delay_s(each.attempts + 1, jitter=jitter)
        if is_final or status_row(status).outcome is not Outcome.RETRY:
            self._give_up(each, status, reason)
        elif delay_s is None:
            self._give_up(each, status, f"{reason}; the attempts are used up")
        else:
            self._steps.later(each, round(1000 * delay_s), status=status, reason=reason)
            self._tell(each, "mpps.not-forwarded", reason=reason)
        return False

    def _taken(self, each: ClaimedForward, status: int, reason: str) -> bool:
        self._steps.sent(each, status, reason)
        self._tell(each, "mpps.forwarded", status=f"0x{status:04X}", reason=reason)
        return True

    def _give_up(
        self, each: ClaimedForward, status: int | None, reason: str, *, was_sent: bool = False
    ) -> None:
        self._steps.give_up(each, status=status, reason=reason, was_sent=was_sent)
        self._tell(each, "mpps.given-up", reason=reason)

    def _fail(self, left: Sequence[ClaimedForward], reason: str, is_under_way: bool) -> None:
        """The association did not come about, or died: the peer is left alone for a while."""
        self._failures += 1
        jitter = random.random()  # noqa: S311 - spreads load, keeps no secret
        wait_s = retry_delay_s(self._failures, self._retry.initial_s, self._retry.maximum_s, jitter)
        self._absent_until = self._clock() + wait_s
        if not left:
            return
        first = left[0]
        if first.attempts + 1 >= self._retry.attempts:
            self._give_up(first, None, f"{reason}; the attempts are used up", was_sent=is_under_way)
        else:
            self._steps.later(first, round(1000 * wait_s), reason=reason, was_sent=is_under_way)
            self._tell(first, "mpps.not-forwarded", reason=reason)
        self._steps.hand_back(left[1:])

    def _tell(self, each: ClaimedForward, action: str, **more: str) -> None:
        log = {"mpps.forwarded": _log.info, "mpps.not-forwarded": _log.warning}.get(action, _log.error)
        log(
            "performed procedure step",
            action=action,
            destination=each.destination,
            request=each.kind.value,
            sop_instance_uid=each.sop_instance_uid,
            number=each.number,
            attempt=each.attempts + 1,
            **{name: value for name, value in more.items() if value},
        )


def _asked(scu: ObjectScu, each: ClaimedForward, data_set: bytes, syntax: str) -> ObjectAnswer:
    if each.kind is MessageKind.CREATE:
        return scu.create(each.sop_instance_uid, data_set, syntax)
    return scu.change(each.sop_instance_uid, data_set, syntax)


def _fitting(scu: ObjectScu, each: ClaimedForward) -> tuple[bytes, str] | None:
    """The data set as it came, or in a transfer syntax that the peer takes; None when there is no way."""
    if each.transfer_syntax_uid in scu.transfer_syntaxes:
        return each.data_set, each.transfer_syntax_uid
    syntax = scu.transfer_syntaxes[0]
    try:
        return encode_identifier(decode_identifier(each.data_set, each.transfer_syntax_uid), syntax), syntax
    except (MalformedDataSet, ConfigurationError):  # characters that its character set lacks
        return None
