"""A home in which everything is right, and the tools to break it."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from sqlalchemy import text

from dicomrelay.cli import status
from dicomrelay.dicom.scan import Header
from dicomrelay.ledger.engine import open_engine
from dicomrelay.runtime import home
from dicomrelay.settings import Settings, load
from dicomrelay.spool import Provenance
from tests.support.rooms import CT, EXPLICIT, data_set, rooms_at, spooled, transfers_of
from workers.group import group_arrivals
from workers.integrity import Finding, Invariant, Severity
from workers.integrity.check import Scope, check
from workers.integrity.repair import Extent, repair
from workers.integrity.tools import Choices, Mended
from workers.keep import archive_batch, frames_batch

PACS = '[[destinations]]\nname = "pacs"\nae_title = "PACS"\nhost = "127.0.0.1"\nport = 1\n'
STUDY = "1.2.3"


@dataclass(frozen=True)
class Home:
    """A home that nothing runs in."""

    settings: Settings
    theirs: Path

    def status(self, *options: str) -> tuple[int, str]:
        """The exit code of `dicomrelay status`, and what it says."""
        argv = ["--home", str(self.settings.home), *options]
        result = CliRunner().invoke(status.command, argv, standalone_mode=False, catch_exceptions=False)
        return int(result.return_value), result.stdout

    def sql(self, statement: str, **values: Any) -> list[Any]:
        """Ask the ledger, or break it."""
        engine = open_engine(home.ledger_url(self.settings))
        try:
            with engine.begin() as connection:
                result = connection.execute(text(statement), values)
                return [tuple(row) for row in result] if result.returns_rows else []
        finally:
            engine.dispose()

    def index(self, statement: str) -> None:
        """Break the archive's index."""
        engine = open_engine(f"sqlite:///{self.settings.archive_path / 'index.sqlite'}")
        with engine.begin() as connection:
            connection.execute(text(statement))
        engine.dispose()

    def spool_id(self, uid: str, state: str = "kept") -> str:
        """The item of an instance."""
        ((found,),) = self.sql(
            "SELECT spool_id FROM instances WHERE sop_instance_uid = :uid AND state = :state",
            uid=uid,
            state=state,
        )
        return str(found)

    def item(self, uid: str, state: str = "kept") -> Path:
        """The file of an instance in the spool."""
        (path,) = self.settings.path("spool").rglob(f"{self.spool_id(uid, state)}.*")
        return path

    def stored(self, uid: str) -> Path:
        """The file of an instance in the archive."""
        (path,) = (self.settings.archive_path / "data").rglob(f"{uid}.dcm")
        return path

    def findings(self, *, read_data: bool = False) -> list[Finding]:
        """What a check finds."""
        return list(check(self.settings, Scope(read_data=read_data)))

    def faults(self, *, read_data: bool = False) -> list[tuple[Invariant, str]]:
        """The faults that a check finds."""
        found = self.findings(read_data=read_data)
        return [(each.invariant, each.words) for each in found if each.severity is Severity.FAULT]

    def repair(self, *, read_data: bool = False, **choices: Any) -> list[Mended]:
        """Mend."""
        return list(repair(self.settings, Choices(**choices), Extent(read_data)))

    def release(self, uid: str, *, minutes_ago: int = 10) -> None:
        """Say in the ledger that an instance was delivered and its item is gone."""
        self.sql(
            "UPDATE deliveries SET state = 'delivered' WHERE instance_id = "
            "(SELECT id FROM instances WHERE sop_instance_uid = :u AND state = 'kept')",
            u=uid,
        )
        self.sql(
            "UPDATE instances SET open_deliveries = 0, released_at = CAST(strftime('%s', 'now') AS INTEGER) * 1000 - :ms "
            "WHERE sop_instance_uid = :u AND state = 'kept'",
            u=uid,
            ms=minutes_ago * 60_000,
        )


def rewrite(path: Path, content: bytes) -> None:
    """Other content under the name, and only under this one: the file may have another name in the archive."""
    path.unlink()
    path.write_bytes(content)


@contextmanager
def whole_home(folder: Path, *, archive: bool = True, toml: str = PACS) -> Iterator[Home]:
    """Seven instances, 1.2.3.0 to 1.2.3.6, archived and with a transfer.

    1.2.3.5 came a second time with other bytes; 1.2.3.6 is read where it lies, which is `theirs.raw` in the folder.
    """
    off = "" if archive else "[archive]\nenabled = false\n"
    with rooms_at(folder / "home", off + toml) as (rooms, _):
        for number in range(6):
            spooled(rooms, f"{STUDY}.{number}")
        group_arrivals(rooms)
        spooled(rooms, f"{STUDY}.5", more=b"\xe0\x7f\x10\x00OB\0\0\0\0\0\0")
        theirs = folder / "theirs.raw"
        theirs.write_bytes(data_set(f"{STUDY}.6"))
        _reference(rooms.spool, theirs)
        group_arrivals(rooms)
        while archive_batch(rooms):
            pass
        while frames_batch(rooms):
            pass
        transfers_of(rooms)
        settings = rooms.settings
    yield Home(settings, theirs)


def copy_of(home: Home, folder: Path) -> Home:
    """The same home in another place, hard links too; the file that is read where it lies stays where it is."""
    subprocess.run(["cp", "-a", home.settings.home, folder / "home"], check=True)
    return Home(load(home=folder / "home"), home.theirs)


def _reference(spool: Any, path: Path) -> None:
    content = path.read_bytes()
    spool.add_reference(
        path,
        header=Header(CT, f"{STUDY}.6", STUDY, f"{STUDY}.1", "CT"),
        transfer_syntax_uid=EXPLICIT,
        data_set_offset=0,
        data_set_bytes=len(content),
        digest=hashlib.sha256(content).hexdigest(),
        provenance=Provenance("CT_1", "DICOMRELAY", "127.0.0.1", "a1", 1, ""),
    )
