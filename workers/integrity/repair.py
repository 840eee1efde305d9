"""Repair: goes the way of the check, and mends what it finds, batch by batch."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import groupby, islice
from pathlib import Path
from typing import Final

from archive.archive import INDEX
from dicomrelay.ledger import Ledger
from dicomrelay.ledger.migrate import migrate
from dicomrelay.routing import configured
from dicomrelay.runtime import home
from dicomrelay.settings import Settings
from dicomrelay.spool.layout import Layout
from workers.integrity import mend_archive, mend_ledger, mend_spool
from workers.integrity.archive_check import check_archive
from workers.integrity.check import check_databases, longest_wait_ms
from workers.integrity.databases import sqlite_path
from workers.integrity.findings import Finding, Severity, Tick, silent
from workers.integrity.identity import check_identity, mend_identity
from workers.integrity.invariants import Invariant
from workers.integrity.ledger_check import check_ledger
from workers.integrity.looking import Look
from workers.integrity.spool_check import check_spool, places
from workers.integrity.tools import (
    Choices,
    Mended,
    Mender,
    Tools,
    only_repair,
    put_away,
    refuse_beside_the_relay,
    rehearsed,
)
from workers.rooms import Rooms

# So many findings of one kind are mended in one go.
BATCH: Final = 1000

_MENDERS: Final[dict[Invariant, Mender]] = {
    Invariant.SPOOL_IDENTITY: mend_spool.not_ours,  # it was seen to before
    Invariant.SPOOL_NAME: mend_spool.damaged,
    Invariant.SPOOL_RECORD: mend_spool.damaged,
    Invariant.SPOOL_BYTES: mend_spool.damaged,
    Invariant.SPOOL_PLACE: mend_spool.misplaced,
    Invariant.SPOOL_SOURCE: mend_spool.not_ours,
    Invariant.SPOOL_CORRUPT: mend_spool.corrupt,
    Invariant.SPOOL_LEFTOVERS: mend_spool.leftovers,
    Invariant.SPOOL_REPORTS: mend_spool.damaged_reports,
    Invariant.LEDGER_DATABASE: mend_spool.not_ours,  # what is damaged was moved away before
    Invariant.LEDGER_KNOWN: mend_spool.unknown,
    Invariant.LEDGER_BYTES: mend_ledger.bytes_gone,
    Invariant.LEDGER_FACTS: mend_spool.other_facts,
    Invariant.LEDGER_ASIDE: mend_spool.misplaced,
    Invariant.LEDGER_RELEASED: mend_spool.released,
    Invariant.LEDGER_COUNTS: mend_ledger.wrong_counts,
    Invariant.LEDGER_DUE: mend_ledger.wrong_times,
    Invariant.LEDGER_WAY: mend_ledger.no_way,
    Invariant.LEDGER_STAGES: mend_ledger.no_stage,
    Invariant.LEDGER_EVIDENCE: mend_spool.not_ours,
    Invariant.ARCHIVE_INDEX: mend_spool.not_ours,
    Invariant.ARCHIVE_AGREES: mend_ledger.disagrees,
    Invariant.ARCHIVE_FILE: mend_archive.file_gone,
    Invariant.ARCHIVE_BYTES: mend_archive.file_gone,
    Invariant.ARCHIVE_KNOWN: mend_archive.not_in_the_index,
    Invariant.ARCHIVE_ASIDE: mend_spool.not_ours,
    Invariant.ARCHIVE_FRAMES: mend_archive.frames_gone,
    Invariant.ARCHIVE_LEFTOVERS: mend_archive.half_written,
    Invariant.ARCHIVE_UNLISTED: mend_archive.unlisted,
}


@dataclass(frozen=True, slots=True)
class Extent:
    """How thoroughly to look for what is to be mended."""

    read_data: bool = False
    tick: Tick = silent


def repair(settings: Settings, choices: Choices, extent: Extent | None = None) -> Iterator[Mended]:
    """Mend, and say of each finding what became of it.

    Raises
    ------
    ConfigurationError
        Another repair is at it; or a database must be replaced, and the relay runs.
    ServiceUnavailable
        A database does not answer; what was mended by then stays mended.
    LedgerError
        The ledger was made by a newer version of dicomrelay.
    """
    extent = extent or Extent()
    with only_repair(settings):
        damaged = [
            finding
            for finding in check_databases(settings, read_data=extent.read_data)
            if finding.severity is Severity.FAULT
        ]
        if damaged:
            what = "a database is damaged or gone"
            refuse_beside_the_relay(settings, what)
        replaced = _databases(settings, damaged, choices)
        if choices.dry_run and damaged:
            yield from map(rehearsed, replaced)
            yield from _would_be_rebuilt(settings, damaged)
            return
        if not choices.dry_run:
            home.prepare(settings)  # db/ may have gone with what was in it
            migrate(home.ledger_url(settings))
        if (yield from _identity(settings, choices)):
            yield from replaced
            return
        with closing(Rooms.open(settings)) as rooms, rooms.spool:
            if not choices.dry_run:
                rooms.ledger.sync_destinations(configured(settings.destinations))
            yield from replaced  # not a word of it before it is so
            yield from _parts(Tools(rooms, _look(rooms, extent), choices))


def _identity(settings: Settings, choices: Choices) -> Generator[Mended, None, bool]:
    """The name of the spool, before everything that goes by it; whether it is still without."""
    ledger = Ledger.open(home.ledger_url(settings))
    try:
        unnamed = False
        for finding in check_identity(settings, ledger.inventory):
            mended = mend_identity(settings, ledger.inventory, finding, dry_run=choices.dry_run)
            unnamed = choices.dry_run or not mended.done
            yield rehearsed(mended) if choices.dry_run else mended
        return unnamed
    finally:
        ledger.dispose()


def _look(rooms: Rooms, extent: Extent) -> Look:
    return Look(
        spool=Layout(rooms.spool.root),
        ledger=rooms.ledger.inventory,
        archive=rooms.archive.inventory(),
        host=rooms.host,
        copies=home.copies_folder(rooms.settings),
        longest_wait_ms=longest_wait_ms(rooms.settings),
        read_data=extent.read_data,
        tick=extent.tick,
        health=rooms.archive.health,
    )


def _parts(tools: Tools) -> Iterator[Mended]:
    """The spool, then the archive, then the ledger: each mends with what the one before it made sure of."""
    put_away_before: dict[str, str] = {}
    back: set[str] = set()
    for mended in _mend(tools, check_spool(tools.look)):
        if not mended.done and mended.finding.invariant is Invariant.SPOOL_CORRUPT:
            put_away_before[mended.finding.about] = mended.words  # how bad that is shows at the end
            continue
        if mended.finding.invariant is Invariant.SPOOL_CORRUPT:
            back.add(mended.finding.spool_id)
        yield _one(tools, mended)
    unsolved: list[Mended] = []
    for mended in _mend(tools, check_archive(tools.look)):
        if not mended.done and mended.finding.invariant in {Invariant.ARCHIVE_FILE, Invariant.ARCHIVE_BYTES}:
            unsolved.append(mended)
        else:
            yield _one(tools, mended)
    yield from _said(tools, mend_archive.found_again(tools, unsolved))
    # What is new in the ledger by now is looked at like the rest.
    # In a rehearsal what would be back is not there yet, and is not lost for that.
    found = (
        finding
        for finding in check_ledger(tools.look)
        if finding.invariant is not Invariant.LEDGER_BYTES or finding.spool_id not in back
    )
    yield from _said(tools, _mend(tools, found))
    yield from _said(tools, mend_spool.stay_put_away(tools, put_away_before))


def _mend(tools: Tools, findings: Iterable[Finding]) -> Iterator[Mended]:
    iterator = iter(findings)
    while batch := list(islice(iterator, BATCH)):
        # One kind after the other; the order within a kind stays.
        order = list(Invariant)
        batch.sort(key=lambda finding: order.index(finding.invariant))
        for invariant, some in groupby(batch, key=lambda finding: finding.invariant):
            yield from _MENDERS[invariant](tools, list(some))


def _said(tools: Tools, all_mended: Iterable[Mended]) -> Iterator[Mended]:
    return (_one(tools, mended) for mended in all_mended)


def _one(tools: Tools, mended: Mended) -> Mended:
    return mended if tools.acts else rehearsed(mended)


def _databases(settings: Settings, damaged: list[Finding], choices: Choices) -> list[Mended]:
    """Move away what is damaged, whole: somebody may still read something from it. What will be so when they are made anew."""
    replaced = []
    for invariant in dict.fromkeys(finding.invariant for finding in damaged):
        finding = next(finding for finding in damaged if finding.invariant is invariant)
        path = _file_of(settings, invariant)
        if path is None or not path.exists():
            words = "is made anew"
        else:
            folder = path.parent / f"damaged-{time.strftime('%Y%m%d-%H%M%S')}"
            words = f"moved to {folder.name}/, and made anew"
            if not choices.dry_run:
                _move_database(path, folder)
        replaced.append(Mended(finding, words))
    return replaced


def _file_of(settings: Settings, invariant: Invariant) -> Path | None:
    if invariant is Invariant.ARCHIVE_INDEX:
        return settings.archive_path / INDEX
    return sqlite_path(home.ledger_url(settings))


def _move_database(path: Path, folder: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            put_away(part, folder)


def _would_be_rebuilt(settings: Settings, damaged: list[Finding]) -> Iterator[Mended]:
    """Without a ledger nobody can say what it does not know: how much there is, at least."""
    items = sum(1 for _ in places(Layout(settings.path("spool"))))
    files = sum(1 for _ in (settings.archive_path / "data").rglob("*.dcm"))
    finding = replace(damaged[0], invariant=Invariant.LEDGER_KNOWN, severity=Severity.NOTE, about="spool")
    words = f"{items} spool items would be registered, and sent where the rules say"
    yield Mended(finding, words, done=False, would=True)
    finding = replace(finding, invariant=Invariant.ARCHIVE_UNLISTED, about="archive")
    words = f"{files} files of the archive: those that the spool does not have would be taken in as archived, not sent"
    yield Mended(finding, words, done=False, would=True)
