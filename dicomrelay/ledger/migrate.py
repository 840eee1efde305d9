"""Bringing a database to the schema of this version, from wherever it stands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, Engine

from dicomrelay.errors import LedgerError, ServiceUnavailable
from dicomrelay.ledger.database_errors import mapped_errors
from dicomrelay.ledger.engine import Work, open_engine, reading
from dicomrelay.ledger.file_guard import make_room
from dicomrelay.ledger.revisions import is_at, newest_of
from dicomrelay.log import get_logger

# Alembic is imported where it is needed: a command that looks at a ledger does without, and is a tenth of a second faster.
if TYPE_CHECKING:
    from alembic.config import Config

VERSION_TABLE: Final = "ledger_version"
_SCRIPTS: Final = Path(__file__).with_name("migrations")

_log = get_logger("dicomrelay.ledger")


def migrate(url: str) -> None:
    """Bring the ledger at `url` to the newest schema.

    One transaction under a lock, so that several processes may call it at once: one does it, the others find it done.

    Raises
    ------
    ConfigurationError
        The URL is of no database that we know.
    ServiceUnavailable
        The database does not answer.
    LedgerError
        The ledger was made by a newer version of dicomrelay.
    """
    engine = open_engine(url)
    shown = engine.url.render_as_string(hide_password=True)
    _make_room(engine, shown)
    try:
        # Looked at first: who finds it as it should be waits for no writer.
        with mapped_errors(shown), reading(engine).connect() as connection:
            if is_at(connection, newest_revision(), VERSION_TABLE):
                return
        with mapped_errors(shown), engine.begin() as connection:
            Work(connection, 0).exclusive("migrate")
            before = current_revision(connection)
            _upgrade(connection, shown)
            after = current_revision(connection)
    finally:
        engine.dispose()
    if before != after:
        _log.info("ledger migrated", action="ledger.migrate", ledger=shown, before=before, after=after)


def _make_room(engine: Engine, shown: str) -> None:
    """Of SQLite, and where there is no file: no rest of another one may lie beside the new one."""
    if engine.dialect.name != "sqlite":
        return
    try:
        if make_room(Path(str(engine.url.database))):
            _log.warning(
                "the ledger's file was removed and its log was not: the log is put aside", ledger=shown
            )
    except FileNotFoundError:  # without a folder SQLite says what is wrong
        return
    except OSError as error:
        raise ServiceUnavailable(f"The ledger {shown} cannot be made: {error.strerror}") from error


def current_revision(connection: Connection) -> str | None:
    """The revision that the database is at; None when it is empty."""
    from alembic.runtime.migration import MigrationContext  # noqa: PLC0415

    return MigrationContext.configure(
        connection, opts={"version_table": VERSION_TABLE}
    ).get_current_revision()


def newest_revision() -> str:
    """The revision of this version of dicomrelay."""
    return newest_of(_SCRIPTS / "versions")


def _upgrade(connection: Connection, shown: str) -> None:
    from alembic import command  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    try:
        command.upgrade(_config(connection), "head")
    except CommandError as error:
        raise LedgerError(
            f"The ledger {shown} is at a revision that this version of dicomrelay does not know: update dicomrelay"
        ) from error


def _config(connection: Connection | None) -> Config:
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    # A % would begin an interpolation of the configuration parser.
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    config.attributes["version_table"] = VERSION_TABLE
    return config
