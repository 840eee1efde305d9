"""The whole check: which parts are there, in which order they are looked at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from archive import Archive
from archive.archive import INDEX
from archive.storage.opening import open_storage
from dicomrelay.errors import ConfigurationError
from dicomrelay.ledger import Ledger
from dicomrelay.runtime import home
from dicomrelay.settings import Settings
from dicomrelay.spool.layout import Layout
from workers.integrity.archive_check import check_archive
from workers.integrity.databases import check_index_database, check_ledger_database
from workers.integrity.findings import Finding, Severity, Tick, silent
from workers.integrity.identity import check_identity
from workers.integrity.ledger_check import check_ledger
from workers.integrity.looking import Look
from workers.integrity.spool_check import check_spool

# Beside the longest wait between two attempts: time windows open within a day.
_DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Scope:
    """What to look at. What is looked at is held against the others all the same."""

    spool: bool = True
    ledger: bool = True
    archive: bool = True
    read_data: bool = False


def check(settings: Settings, scope: Scope, *, tick: Tick = silent) -> Iterator[Finding]:
    """Everything that does not hold, told as it is found. Only reads; the relay may work meanwhile.

    Raises
    ------
    ServiceUnavailable
        A database does not answer.
    """
    ledger_is_sound = archive_is_sound = True
    for finding in check_databases(settings, read_data=scope.read_data):
        if finding.invariant.value.startswith("ledger"):
            ledger_is_sound = False
        else:
            archive_is_sound = archive_is_sound and finding.severity is not Severity.FAULT
        wanted = scope.ledger if finding.invariant.value.startswith("ledger") else scope.archive
        if wanted:
            yield finding
    ledger = Ledger.open(home.ledger_url(settings)) if ledger_is_sound else None
    archive = _archive(settings) if archive_is_sound else None
    look = Look(
        spool=Layout(settings.path("spool")) if settings.path("spool").is_dir() else None,
        ledger=ledger.inventory if ledger else None,
        archive=archive.inventory() if archive else None,
        host=_host(settings),
        copies=home.copies_folder(settings),
        longest_wait_ms=longest_wait_ms(settings),
        read_data=scope.read_data,
        tick=tick,
        health=archive.health if archive else None,
    )
    try:
        if scope.spool:
            yield from check_identity(settings, look.ledger)
            yield from check_spool(look)
        if scope.archive:
            yield from check_archive(look)
        if scope.ledger:
            yield from check_ledger(look)
    finally:
        if ledger:
            ledger.dispose()
        if archive:
            archive.close()


def check_databases(settings: Settings, *, read_data: bool) -> Iterator[Finding]:
    """The ledger's, and the archive's where it has one of its own."""
    if has_run(settings):
        yield from check_ledger_database(home.ledger_url(settings), read_data=read_data)
    root = settings.archive_path
    if home.archive_url(settings) is None and (root / "data").is_dir():
        yield from check_index_database(root / INDEX, read_data=read_data)


def has_run(settings: Settings) -> bool:
    """Whether anything was ever received or archived here: then there must be a ledger."""
    return (
        settings.path("spool", "identity").exists()
        or any(settings.path("spool", "kept").glob("*"))
        or (settings.archive_path / "data").is_dir()
    )


def longest_wait_ms(settings: Settings) -> int:
    """How far ahead the next attempt at a transfer can lie, by these settings, with jitter and a time window, or by a rule."""
    longest_s = max((destination.retry_max_s for destination in settings.destinations), default=600.0)
    # A rule puts off by a day at most, and then until its window opens.
    return round(2 * 1000 * longest_s) + 2 * _DAY_MS


def _archive(settings: Settings) -> Archive | None:
    """The archive, where there is one; opening one that is not there would make it."""
    if settings.archive.url is None and not (settings.archive_path / "data").is_dir():
        return None
    return Archive.open(
        settings.archive_path,
        database_url=home.archive_url(settings),
        storage=open_storage(settings.archive, settings.archive_path),
    )


def _host(settings: Settings) -> str:
    """The name of this spool; "" where it has none, or its file is damaged, which the commands that need it say."""
    if settings.path("spool", "identity").exists():
        with suppress(ConfigurationError):
            return home.spool_name(settings)
    return ""
