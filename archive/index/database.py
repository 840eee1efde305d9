"""The database of the index, migrated. Connections, pragmas and errors are the ledger's: one way to speak to a database."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from archive.index.schema import VERSION_TABLE
from dicomrelay.errors import ArchiveError
from dicomrelay.ledger.database_errors import ARCHIVE_INDEX
from dicomrelay.ledger.engine import IMMUTABLE, Database, Work
from dicomrelay.ledger.revisions import is_at, newest_of

# Alembic is imported where something is to be migrated: whoever opens an index that is as it should be does without.
if TYPE_CHECKING:
    from alembic.config import Config

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
    try:
        # Looked at first: who opens an index that is as it should be waits for no writer.
        with database.read() as work:
            is_newest = _is_newest(work, database.shown_url)
        if not is_newest:
            with database.write() as work:
                work.exclusive("archive.migrate")
                if not _is_newest(work, database.shown_url):
                    _upgrade(work)
    except BaseException:
        database.dispose()
        raise
    return database


def newest_revision() -> str:
    """The revision of this version of dicomrelay."""
    return newest_of(_SCRIPTS / "versions")


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
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    # A % would begin an interpolation of the configuration parser.
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _upgrade(work: Work) -> None:
    from alembic import command  # noqa: PLC0415

    config = migrations()
    config.attributes["connection"] = work.connection
    command.upgrade(config, "head")


def _is_newest(work: Work, shown_url: str) -> bool:
    """Whether it is at the newest revision. Raises ArchiveError when it is at one that is not known here."""
    if is_at(work.connection, newest_revision(), VERSION_TABLE):
        return True
    from alembic.runtime.migration import MigrationContext  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    found = MigrationContext.configure(work.connection, opts={"version_table": VERSION_TABLE})
    revision = found.get_current_revision()
    scripts = ScriptDirectory.from_config(migrations())
    if revision is not None and revision not in {script.revision for script in scripts.walk_revisions()}:
        raise ArchiveError(
            f"the archive's index {shown_url} was made by a newer version of dicomrelay: it is at revision {revision[:32]},"
            f" and this version knows up to {scripts.get_current_head()}; update dicomrelay"
        )
    return False
