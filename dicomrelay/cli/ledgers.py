"""The ledger of a home, for commands that look at it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from sqlalchemy import text

from dicomrelay.errors import ConfigurationError, RelayError, ServiceUnavailable
from dicomrelay.ledger import Ledger
from dicomrelay.ledger.database_errors import ARCHIVE_INDEX
from dicomrelay.ledger.engine import Database, Work
from dicomrelay.runtime import home
from dicomrelay.settings import Settings

# In words, for what reads the archive's tables brings pydicom with it, and a status should be quick.
_ARCHIVED: Final = text("SELECT count(*) FROM archive_instances")
_IMPORTED: Final = text("SELECT count(*) FROM archive_meta WHERE name = 'imported'")


def has_run(settings: Settings) -> bool:
    """Whether there can be a ledger. A `send` without `up` makes the folders and no more."""
    if settings.database.url.get_secret_value() != "embedded":
        return settings.path("run").is_dir()
    file = settings.path("db", "ledger.sqlite")
    return file.is_file() and file.stat().st_size > 0


def _refuse_when_lost(settings: Settings) -> None:
    """A home whose spool has a name has had a ledger."""
    embedded = settings.database.url.get_secret_value() == "embedded"
    if not embedded or not settings.path("spool", "identity").exists():
        return
    file = settings.path("db", "ledger.sqlite")
    if home.HomeLock(settings).is_held():
        raise ServiceUnavailable(
            f"{file}: the ledger is gone, and `dicomrelay up` runs: in some seconds it makes a new one and fills it from the "
            "spool; then `dicomrelay repair` makes known again what only the archive has"
        )
    raise ServiceUnavailable(
        f"{file}: the ledger is gone, and the spool is not: run `dicomrelay repair`, then start `dicomrelay up` "
        "(docs/howto/check-and-repair.md says what is sent again)"
    )


@dataclass(frozen=True, slots=True)
class Unlisted:
    """Instances of the archive that the ledger does not know: at least so many, and whether files were ever imported."""

    instances: int = 0
    was_imported: bool = False


def not_in_the_ledger(settings: Settings, ledger: Ledger) -> Unlisted:
    """What of the archive is unknown to the ledger; counts alone, and no row is read.

    Every instance that the relay archived is in the ledger, so that one that has fewer lacks the difference, or the
    difference was imported; what else the ledger has, in the spool only, hides as many.
    """
    try:
        # The ledger after the archive: what is archived meanwhile was in the ledger before.
        with archive_index(settings) as work:
            if work is None:
                return Unlisted()
            archived: int = work.connection.execute(_ARCHIVED).scalar_one()
            was_imported = bool(work.connection.execute(_IMPORTED).scalar_one())
        return Unlisted(max(0, archived - ledger.inventory.counts().instances), was_imported)
    except RelayError:  # no archive yet, or one that cannot be asked: its own checks tell of that
        return Unlisted()


@contextmanager
def archive_index(settings: Settings) -> Iterator[Work | None]:
    """The index of the home's archive, to be read as long as the block lasts; None where there is none.

    Raises
    ------
    RelayError
        It cannot be asked.
    """
    index = settings.archive_path / "index.sqlite"
    url = home.archive_url(settings)
    if url is None and not index.is_file():
        yield None
        return
    database = Database(url or f"sqlite:///{index}", whose=ARCHIVE_INDEX)
    try:
        with database.read() as work:
            yield work
    finally:
        database.dispose()


def _is_at_a_server(settings: Settings) -> bool:
    """Whether the ledger is there without this home: any machine that has the settings may look at it."""
    if not home.is_shared(settings):
        return False
    from dicomrelay.ledger.migrate import current_revision  # noqa: PLC0415 - late: Alembic, for this one case

    database = Database(home.ledger_url(settings))
    try:
        with database.read() as work:
            return current_revision(work.connection) is not None
    finally:
        database.dispose()


@contextmanager
def opened_ledger(settings: Settings) -> Iterator[Ledger]:
    """The ledger that is there; none is made.

    Raises
    ------
    ConfigurationError
        Nothing has run in this home yet.
    ServiceUnavailable
        Something has, and the ledger is gone.
    """
    if not has_run(settings) and not _is_at_a_server(settings):
        _refuse_when_lost(settings)
        raise ConfigurationError(
            f"{settings.home}: nothing has run here yet: start `dicomrelay up`, or name another home with --home"
        )
    ledger = Ledger.open(home.ledger_url(settings))
    try:
        yield ledger
    finally:
        ledger.dispose()
