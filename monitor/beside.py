"""What needs a person and is no instance's row in the ledger, as `dicomrelay status` says it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Final

from sqlalchemy import text

from dicomrelay.errors import RelayError
from dicomrelay.ledger import Ledger
from dicomrelay.ledger.database_errors import ARCHIVE_INDEX
from dicomrelay.ledger.engine import Database
from dicomrelay.runtime import home
from dicomrelay.settings import Settings
from dicomrelay.text import size
from monitor import words

MOST: Final = 1000
# In words, as the status asks: what reads the archive's tables brings pydicom with it.
_DAMAGED: Final = text(
    "SELECT count(*) FROM (SELECT 1 FROM archive_instances WHERE damage IS NOT NULL LIMIT :most) AS damaged"
)


def lines(ledger: Ledger, settings: Settings) -> tuple[tuple[str, str], ...]:
    """What is wrong, and what to do.

    Raises
    ------
    ServiceUnavailable
        The ledger does not answer. An archive that does not says nothing here: what waits for it does.
    """
    return (*_of_the_ledger(ledger), *_of_the_host(settings))


def _of_the_ledger(ledger: Ledger) -> Iterator[tuple[str, str]]:
    if number := ledger.unheard():
        yield (
            f"{words.count(number, 'message')} about performed procedure steps (MPPS) not taken",
            "dicomrelay mpps list --stuck",
        )
    pulls = ledger.pulls.standing()
    for state in ("partial", "failed"):
        if number := pulls.get(state, 0):
            yield (
                f"{words.count(number, 'pull')} from other nodes left something that is not here",
                f"dicomrelay pull list --state {state}",
            )


def _of_the_host(settings: Settings) -> Iterator[tuple[str, str]]:
    spool = settings.path("spool")
    if number := sum(1 for _ in islice((spool / "corrupt").glob("*"), MOST)):
        yield f"{_many(number, 'damaged spool item')} put away in spool/corrupt", "dicomrelay status"
    with suppress(OSError):
        free = shutil.disk_usage(spool).free
        if free < settings.gateway.min_free_bytes:
            low = size(settings.gateway.min_free_bytes)
            yield (
                f"{size(free)} are free where the spool is: nothing is accepted below {low}",
                "dicomrelay doctor",
            )
    if number := _damaged_in_the_archive(settings):
        yield f"{_many(number, 'damaged archived file')}", "dicomrelay archive check --damaged"


def _damaged_in_the_archive(settings: Settings) -> int:
    index, url = settings.archive_path / "index.sqlite", home.archive_url(settings)
    if url is None and not index.is_file():
        return 0
    database = Database(url or f"sqlite:///{index}", whose=ARCHIVE_INDEX)
    try:
        with suppress(RelayError), database.read() as work:
            return int(work.connection.execute(_DAMAGED, {"most": MOST}).scalar_one())
        return 0
    finally:
        database.dispose()


def _many(number: int, one: str) -> str:
    return words.count(number, one) if number < MOST else f"{MOST:,} {one}s or more"
