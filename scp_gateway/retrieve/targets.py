"""Who is meant by a Move Destination (PS3.4 Section C.4.2.1.3), and whether anything may go there now."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dicomrelay.dicom.status import Status
from dicomrelay.errors import ConfigurationError
from dicomrelay.log import get_logger
from dicomrelay.settings import DestinationSettings, Settings
from dicomrelay.settings.windows import parse_window
from scp_gateway.retrieve.counting import CANNOT_SEND
from scp_gateway.retrieve.keys import RetrieveRefused
from scp_gateway.retrieve.port import MovePort

if TYPE_CHECKING:
    from dicomrelay.delivery import Target

_log = get_logger("dicomrelay.gateway")
UNKNOWN_DESTINATION: Final = 0xA801


@dataclass(frozen=True, slots=True)
class MoveTarget:
    """A destination that something may go to now."""

    settings: DestinationSettings
    target: Target

    @property
    def name(self) -> str:
        """As in the settings."""
        return self.settings.name


def _minute() -> int:
    now = time.localtime()
    return now.tm_hour * 60 + now.tm_min


class Targets:
    """The destinations of the settings, for moves.

    Parameters
    ----------
    minute : callable
        Of the local day, 0 to 1439.
    """

    def __init__(self, settings: Settings, port: MovePort, *, minute: Callable[[], int] = _minute) -> None:
        self._settings = settings
        self._port = port
        self._minute = minute

    def find(self, title: str) -> MoveTarget:
        """The destination that a Move Destination names.

        Raises
        ------
        RetrieveRefused
            Nobody knows it, or nothing may go there now; the words say what to do.
        """
        settings = self._named(title.strip())
        if settings is None:
            words = f"{title.strip() or 'nothing'}: no ae_title of [[destinations]]"
            raise RetrieveRefused(UNKNOWN_DESTINATION, words)
        windows = [parse_window(text) for text in settings.windows]
        if windows and not any(window.holds(self._minute()) for window in windows):
            raise RetrieveRefused(
                CANNOT_SEND, f"{settings.name} is closed, ask again in {', '.join(map(str, windows))}"
            )
        held = self._port.held(settings.name)
        if held is None:
            raise RetrieveRefused(CANNOT_SEND, "the ledger does not say what is held, ask again later")
        if held:
            raise RetrieveRefused(CANNOT_SEND, f"{settings.name} is held, ask again when it is released")
        return MoveTarget(settings, self._target(settings))

    def _named(self, title: str) -> DestinationSettings | None:
        destinations = self._settings.destinations
        found = next((each for each in destinations if each.ae_title.strip() == title), None)
        return found or next((each for each in destinations if each.name == title.lower()), None)

    def _target(self, settings: DestinationSettings) -> Target:
        from dicomrelay.routing import resolve, target_of  # noqa: PLC0415 - with the ledger's library, for moves alone

        try:
            return target_of(resolve(settings.name, self._settings.destinations), self._settings)
        except ConfigurationError as error:
            _log.error("a destination cannot be used", action="move.refused", reason=str(error))
            words = f"{settings.name} cannot be called, its settings are wrong"
            raise RetrieveRefused(Status.CANNOT_UNDERSTAND, words) from None
