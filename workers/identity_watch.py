"""Whether the spool still says its name: without it no process of the relay starts again."""

from __future__ import annotations

from dicomrelay.errors import ConfigurationError
from dicomrelay.log import get_logger
from dicomrelay.runtime import home
from workers.rooms import Rooms

_log = get_logger("dicomrelay.scheduler")


class IdentityWatch:
    """Looks at `spool/identity`, and tells once of what is wrong with it and once that it is right again."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._told = ""

    def look(self) -> str:
        """What is wrong now; "" when nothing is."""
        fault = self._fault()
        if fault and fault != self._told:
            _log.error("the name of the spool is lost: no task starts that needs it", reason=fault)
        elif self._told and not fault:
            _log.info("the spool has its name again")
        self._told = fault
        return fault

    def _fault(self) -> str:
        path = self._rooms.settings.path("spool", "identity")
        try:
            if not path.exists():
                return f"{path}: is gone: `dicomrelay repair` writes it again"
            name = home.known_spool_name(self._rooms.settings)
        except ConfigurationError as error:
            return str(error)
        except OSError as error:
            return f"{path}: cannot be read ({error.strerror})"
        if name != self._rooms.host:
            return (
                f"{path}: holds {name}, and the relay was started with {self._rooms.host}: write that into it"
            )
        return ""
