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
        for name, channel in self._channels.items():
            for _ in range(_MOST_AT_ONCE):
                message = self._rooms.ledger.alerts.due(name)
                if message is None or not self._told(message, channel):
                    break

    def _told(self, message: AlertMessage, channel: Channel) -> bool:
        try:
            channel(telling_of(message, self._rooms.host))
        except RelayError as error:
            again_s = min(_LAST_AGAIN_S, _FIRST_AGAIN_S * 2 ** min(message.attempts, 20))
            over = message.first_ms >= _GIVE_UP_MS
            self._rooms.ledger.alerts.not_told(
                message.id, why=str(error), again_in_ms=None if over else round(again_s * 1000)
            )
            metrics.add(ALERT_MESSAGES, message.channel, "given-up" if over else "failed")
            _log.warning(
                "an alert was not told",
                action="alert.not-told",
                channel=message.channel,
                kind=message.alert.kind.value,
                subject=message.alert.subject,
                reason=str(error),
                again_s=None if over else again_s,
            )
            return over
        self._rooms.ledger.alerts.told(message.id)
        metrics.add(ALERT_MESSAGES, message.channel, "told")
        _log.info(
            "alert",
            action="alert.told",
            channel=message.channel,
            told=message.told.value,
            kind=message.alert.kind.value,
            subject=message.alert.subject,
            severity=message.alert.severity.value,
        )
        return True
