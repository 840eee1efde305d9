"""The database of the index, migrated. Connections, pragmas and errors are the ledger's: one way to speak to a database."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from dicomrelay.errors import ArchiveError
from dicomrelay.ledger.engine import Database

_SCRIPTS: Final = Path(__file__).parents[1] / "migrations"


def open_database(url: str) -> Database:
    """The index at `url`, brought to the newest schema; several processes may do it at once.

    Raises
    ------
    ConfigurationError
        The URL is of no database that we know.
    ServiceUnavailable
        The database does not answer.
    ArchiveError
        The index was made by a newer version of dicomrelay.
    """
    database = Database(url)
    config = Config()
    # A % would begin an interpolation of the configuration parser.
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    try:
        with database.write() as work:
            work.exclusive("archive.migrate")
            config.attributes["connection"] = work.connection
            command.upgrade(config, "head")
    except CommandError as error:
        database.dispose()
        raise ArchiveError(
            f"the archive's index {database.shown_url} is at a revision that this version of dicomrelay does not know:"
            " update dicomrelay"
        ) from error
    return database
