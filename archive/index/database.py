"""The database of the index, migrated. Connections, pragmas and errors are the ledger's: one way to speak to a database."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Final
from urllib.parse import quote

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from archive.index.schema import VERSION_TABLE
from dicomrelay.errors import ArchiveError
from dicomrelay.ledger.database_errors import ARCHIVE_INDEX
from dicomrelay.ledger.engine import IMMUTABLE, Database, Work

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
    database = Database(url, whose=ARCHIVE_INDEX)
    config = migrations()
    try:
        # Looked at first: who opens an index that is as it should be waits for no writer.
        with database.read() as work:
            is_newest = _is_newest(work, config, database.shown_url)
        if not is_newest:
            with database.write() as work:
                work.exclusive("archive.migrate")
                if not _is_newest(work, config, database.shown_url):
                    config.attributes["connection"] = work.connection
                    command.upgrade(config, "head")
    except BaseException:
        database.dispose()
        raise
    return database


def newest_revision() -> str | None:
    """The revision of this version of dicomrelay."""
    return ScriptDirectory.from_config(migrations()).get_current_head()


def file_url(file: Path) -> str:
    """The URL of an index in a file, which is made when it is not there; where it cannot change, one that can only be read.

    Raises
    ------
    ArchiveError
        It cannot change, and was not closed: what was written last is beside it.
    OSError
        It cannot be made.
    """
    try:
        # SQLite would make it readable for others; what it keeps beside it gets the same mode.
        file.touch(mode=0o600)
    except OSError as error:
        if error.errno != errno.EROFS or not file.is_file():
            raise
    else:
        return f"sqlite:///{file}"
    written = file.with_name(f"{file.name}-wal")
    if written.is_file() and written.stat().st_size:
        raise ArchiveError(
            f"archive {file.parent}: is on a read-only file system, and its index was in use when that was made: mount it"
            " writable and open it once, or copy it"
        )
    # SQLite wants to make files beside it otherwise (sqlite.org/wal.html, read-only databases).
    return f"sqlite:///file:{quote(str(file))}?{IMMUTABLE}=1&uri=true"


def migrations() -> Config:
    """What Alembic is told; the connection goes into its `attributes`."""
    config = Config()
    # A % would begin an interpolation of the configuration parser.
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _is_newest(work: Work, config: Config, shown_url: str) -> bool:
    """Whether it is at the newest revision. Raises ArchiveError when it is at one that is not known here."""
    found = MigrationContext.configure(work.connection, opts={"version_table": VERSION_TABLE})
    revision = found.get_current_revision()
    scripts = ScriptDirectory.from_config(config)
    if revision is not None and revision not in {script.revision for script in scripts.walk_revisions()}:
        raise ArchiveError(
            f"the archive's index {shown_url} was made by a newer version of dicomrelay: it is at revision {revision[:32]},"
            f" and this version knows up to {scripts.get_current_head()}; update dicomrelay"
        )
    return revision == scripts.get_current_head()
