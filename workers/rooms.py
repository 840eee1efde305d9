"""What the work needs, built once for each process."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from archive import Archive
from archive.root import mark_as_of_a_relay
from archive.storage.opening import open_storage
from archive.values import Policy
from dicomrelay.ledger import Ledger
from dicomrelay.runtime import home
from dicomrelay.runtime.owner import own_name
from dicomrelay.runtime.queue import WakeUps
from dicomrelay.settings import Settings
from dicomrelay.spool import Spool


@dataclass(frozen=True, slots=True)
class Rooms:
    """The ports of one process."""

    settings: Settings
    ledger: Ledger
    spool: Spool
    archive: Archive
    wake_ups: WakeUps
    host: str
    # Set when the process is to end: what is under way is handed back at the next instance.
    stopping: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def open(cls, settings: Settings) -> Rooms:
        """Open them; connections are made when first used."""
        ledger = Ledger.open(home.ledger_url(settings))
        archive = Archive.open(
            settings.archive_path,
            database_url=home.archive_url(settings),
            storage=open_storage(settings.archive, settings.archive_path),
            policy=Policy.named(settings.archive.policy),
        )
        mark_as_of_a_relay(settings.archive_path)
        return cls(
            settings=settings,
            ledger=ledger,
            spool=Spool(settings.path("spool"), min_free_bytes=settings.gateway.min_free_bytes),
            archive=archive,
            wake_ups=WakeUps(settings),
            host=home.spool_name(settings),
        )

    @property
    def owner(self) -> str:
        """Who holds a lease: this process, and no other that ever was."""
        return own_name()

    def close(self) -> None:
        """Let go of connections."""
        self.ledger.dispose()
        self.archive.close()
        self.wake_ups.close()
