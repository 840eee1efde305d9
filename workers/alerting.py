"""Looks for what is worth telling, and tells it (docs/design/alerts.md). In the scheduler's process."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from dicomrelay import metrics
from dicomrelay.alerts.channels import Channel, channels_of
from dicomrelay.alerts.deciding import Patience, of_certificates, of_disks, of_the_ledger
from dicomrelay.alerts.message import LEDGER, telling_of
from dicomrelay.errors import RelayError
from dicomrelay.ledger.values_alerts import Alert, AlertKind, AlertMessage, Condition
from dicomrelay.log import get_logger
from dicomrelay.metrics.catalogue import ALERT_MESSAGES, ALERTS
from workers.levels import certificate_ends, disks_of
from workers.rooms import Rooms

_log = get_logger("dicomrelay.alerts")
_FIRST_AGAIN_S: Final = 10.0
_LAST_AGAIN_S: Final = 3600.0
_GIVE_UP_MS: Final = 3 * 86_400_000
_MOST_AT_ONCE: Final = 50
_FEW: Final = 3
_WAIT_S: Final = 5.0


def alert_until(rooms: Rooms, stop: threading.Event, *, leads: Callable[[], bool] = lambda: True) -> None:
    """Look every `alerts.every_seconds` until `stop` is set; trouble is logged once, and the next look tries again.

    Parameters
    ----------
    leads : callable
        Whether this scheduler is the one that looks at what is the ledger's, and tells; each looks at its own host.
    """
    alerting = Alerting(rooms)
    troubled = ""
    while not stop.wait(rooms.settings.alerts.every_seconds):
        try:
            alerting.look(leads=leads())
            troubled = ""
        except (RelayError, OSError) as error:
            if type(error).__name__ != troubled:
                _log.warning("cannot look for what is to be told, trying again", reason=str(error))
            troubled = type(error).__name__


class Alerting:
    """One scheduler's looks.

    Parameters
    ----------
    channels : mapping, optional
        Who is told, by name; by default those of the settings.
    """

    def __init__(self, rooms: Rooms, *, channels: Mapping[str, Channel] | None = None) -> None:
        self._rooms = rooms
        self._settings = rooms.settings.alerts
        self._channels = channels_of(self._settings) if channels is None else channels
        self._telling: dict[str, threading.Thread] = {}
        self._patience = Patience(AlertKind.ATTENTION, self._settings.attention_after_seconds)

    def look(self, *, leads: bool = True) -> None:
        """Look once, and tell what is due.

        Raises
        ------
        ServiceUnavailable
            The ledger does not answer: nothing begins and nothing ends.
        """
        found = self._saw(self._rooms.host, self._of_this_host())
        if leads:
            conditions = of_the_ledger(self._rooms.ledger.figures(), self._settings)
            found += self._saw(LEDGER, self._patience.let(conditions))
            self._tell()
            keep_ms = round(self._settings.keep_days * 86_400_000)
            self._rooms.ledger.alerts.prune(keep_ms=keep_ms, channels=list(self._channels))
        counts = {(kind.value,): float(sum(each.kind is kind for each in found)) for kind in AlertKind}
        metrics.levels(ALERTS, counts)

    def _saw(self, scope: str, conditions: Sequence[Condition]) -> list[Alert]:
        hours = self._settings.repeat_hours
        return self._rooms.ledger.alerts.saw(
            scope,
            conditions,
            channels=list(self._channels),
            repeat_ms=round(hours * 3_600_000) if hours else None,
        )

    def _of_this_host(self) -> list[Condition]:
        settings = self._rooms.settings
        free = {}
        for name, path in disks_of(settings).items():
            with suppress(OSError):  # one that is not mounted is told of by what cannot be written
                status = os.statvfs(path)
                free[name] = status.f_bavail * status.f_frsize
        low = self._settings.disk_free_bytes
        return [
            *of_disks(free, low_bytes=2 * settings.gateway.min_free_bytes if low is None else low),
            *of_certificates(certificate_ends(settings), time.time(), days=self._settings.certificate_days),
        ]

    def _tell(self) -> None:
        """Each channel in a thread of its own, waited for a moment: one that is slow holds up no other, nor the looks."""
        for name, channel in self._channels.items():
            thread = self._telling.get(name)
            if thread is None or not thread.is_alive():
                thread = threading.Thread(
                    target=self._tell_one, args=(name, channel), name=f"tell-{name}", daemon=True
                )
                self._telling[name] = thread
                thread.start()
        deadline = time.monotonic() + _WAIT_S
        for thread in self._telling.values():
            thread.join(max(0.0, deadline - time.monotonic()))

    def _tell_one(self, name: str, channel: Channel) -> None:
        try:
            for _ in range(_MOST_AT_ONCE):
                messages = self._rooms.ledger.alerts.due(name, channel.most)
                if len(messages) <= _FEW:  # few are told one by one, many in one mail
                    messages = messages[:1]
                if not messages or not self._told(messages, channel):
                    return
        except RelayError as error:  # the ledger; what was told and not marked is told again
            _log.warning("cannot look for what is to be told, trying again", reason=str(error))

    def _told(self, messages: Sequence[AlertMessage], channel: Channel) -> bool:
        """Whether the next may follow: they were taken, or are given up."""
        try:
            left_out = channel.tell([telling_of(each, self._rooms.host) for each in messages])
        except Exception as error:  # noqa: BLE001 - whatever one channel comes to, the relay goes on telling
            why = str(error) if isinstance(error, RelayError) else f"failed ({type(error).__name__})"
            given_up = [self._later(each, why) for each in messages]
            return all(given_up)
        self._rooms.ledger.alerts.told(*[each.id for each in messages])
        for each in messages:
            metrics.add(ALERT_MESSAGES, each.channel, "told")
            _log.info("alert", action="alert.told", told=each.told.value, **_about(each))
        if left_out:
            _log.warning(
                "an alert was not told to all",
                action="alert.not-told",
                reason=left_out,
                **_about(messages[0]),
            )
        return True

    def _later(self, message: AlertMessage, why: str) -> bool:
        """Not taken: again later, or never. Whether it is given up."""
        again_s = min(_LAST_AGAIN_S, _FIRST_AGAIN_S * 2 ** min(message.attempts, 20))
        over = message.first_ms >= _GIVE_UP_MS
        self._rooms.ledger.alerts.not_told(
            message.id, why=why, again_in_ms=None if over else round(again_s * 1000)
        )
        metrics.add(ALERT_MESSAGES, message.channel, "given-up" if over else "failed")
        _log.warning(
            "an alert was not told",
            action="alert.not-told",
            reason=why,
            again_s=None if over else again_s,
            **_about(message),
        )
        return over


def _about(message: AlertMessage) -> dict[str, str]:
    return {
        "channel": message.channel,
        "kind": message.alert.kind.value,
        "subject": message.alert.subject,
        "severity": message.alert.severity.value,
    }
