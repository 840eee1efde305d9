"""The ledger's database, for those who schedule: what is not there is not made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dicomrelay.errors import ServiceUnavailable
from dicomrelay.runtime import home
from dicomrelay.scheduling.worklist import Worklist
from dicomrelay.settings import Settings


def existing_ledger_url(settings: Settings) -> str:
    """The URL of the ledger.

    Raises
    ------
    ServiceUnavailable
        It is a file, and not there yet: opened it would be made, and be empty.
    """
    is_embedded = settings.database.url.get_secret_value() == "embedded"
    if is_embedded and not settings.path("db", "ledger.sqlite").is_file():
        raise ServiceUnavailable("there is no ledger yet: start `dicomrelay up`")
    return home.ledger_url(settings)


def open_worklist(settings: Settings) -> Worklist:
    """The worklist of the settings. Raises ServiceUnavailable as `existing_ledger_url`; connects at first use."""
    return Worklist.open(existing_ledger_url(settings))


@contextmanager
def opened_worklist(settings: Settings) -> Iterator[Worklist]:
    """The same, for the length of a block."""
    worklist = open_worklist(settings)
    try:
        yield worklist
    finally:
        worklist.dispose()
