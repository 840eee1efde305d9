"""What the work needs, built once for each process."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from archive import Archive
from archive.renditions.cache import RenditionCache
from archive.renditions.renditions import Renditions
from archive.root import mark_as_of_a_relay
from archive.storage.opening import open_storage
from archive.values import Policy
from dicomrelay.audit import Audit
from dicomrelay.ledger import Ledger
from dicomrelay.routing.book import RuleBook
from dicomrelay.routing.rules import RuleSet
from dicomrelay.runtime import home, rules_state
from dicomrelay.runtime.owner import own_name
from dicomrelay.runtime.queue import WakeUps
from dicomrelay.settings import Settings
from dicomrelay.spool import Spool
from workers.put_off import PutOff


@dataclass(frozen=True, slots=True)
class Rooms:
    """The ports of one process."""

    settings: Settings
    ledger: Ledger
    spool: Spool
    archive: Archive
    wake_ups: WakeUps
    host: str
    # What the rules have made; none where nothing is to be.
    renditions: Renditions | None = None
    # Set when the process is to end: what is under way is handed back at the next instance.
    stopping: threading.Event = field(default_factory=threading.Event)
    # Items and studies of which the rules ask what cannot be read now.
    unread_items: PutOff = field(default_factory=PutOff)
    unread_studies: PutOff = field(default_factory=PutOff)
    _books: list[RuleBook] = field(default_factory=list)
    _audits: list[Audit] = field(default_factory=list)
    _told: list[rules_state.RulesState] = field(default_factory=list)

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
            renditions=_renditions(settings, archive),
        )

    def rules(self) -> RuleSet:
        """The rules in force now.

        Raises
        ------
        ConfigurationError
            There are none to begin with: something is wrong with them.
        """
        if not self._books:
            self._books.append(RuleBook(self.settings))
        book = self._books[0]
        rules = book.current()
        state = rules_state.RulesState(rules.version, book.judged, book.refused)
        if self.settings.rules_path is not None and self._told != [state]:
            self._told[:] = [state]
            rules_state.tell(self.settings, state)
        return rules

    @property
    def audit(self) -> Audit:
        """Where it is told what goes out."""
        if not self._audits:
            self._audits.append(Audit(self.settings))
        return self._audits[0]

    @property
    def reads_as(self) -> str:
        """Whose spool this host can read, where several may be at the ledger; "" where it is alone."""
        return self.host if home.is_shared(self.settings) else ""

    @property
    def owner(self) -> str:
        """Who holds a lease: this process, and no other that ever was."""
        return own_name()

    def close(self) -> None:
        """Let go of connections."""
        self.ledger.dispose()
        if self.renditions is not None:
            self.renditions.close()
        self.archive.close()
        self.wake_ups.close()


def _renditions(settings: Settings, archive: Archive) -> Renditions | None:
    """What makes renditions, where a rule may say so; children are started when they are first needed."""
    by_rule = settings.renditions.rules or settings.rules or settings.rules_file
    if not by_rule or not settings.renditions.max_bytes:
        return None
    kept = RenditionCache(
        settings.renditions_path,
        max_bytes=settings.renditions.max_bytes,
        min_free_bytes=settings.gateway.min_free_bytes,
    )
    return Renditions(archive, kept)
