"""The spool against itself and the ledger: every folder is listed, every head read, bucket by bucket."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from dicomrelay.errors import SpoolCorrupt, SpoolError
from dicomrelay.ledger.inventory import InstanceEntry
from dicomrelay.ledger.texts import storable
from dicomrelay.ledger.values import InstanceState
from dicomrelay.spool import SpoolRecord
from dicomrelay.spool.items import item_names, read_item, verify_data_set
from dicomrelay.spool.layout import ITEM, REFERENCE, Layout, is_id
from workers.integrity import one_file
from workers.integrity.findings import Finding, Severity
from workers.integrity.invariants import Invariant
from workers.integrity.looking import Look
from workers.integrity.spool_remains import check_corrupt, check_leftovers, check_reports

BATCH: Final = 1000
# A release is a mark and a removal a moment later; what a crash left between the two is older than this.
_RELEASED_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class Place:
    """A file of the spool that may be an item."""

    path: Path
    folder: str  # "new", "kept" or "aside"

    @property
    def is_settled(self) -> bool:
        """Whether the ledger must know it."""
        return self.folder != "new"


def check_spool(look: Look) -> Iterator[Finding]:
    """Everything in the spool; see docs/design/integrity.md, `spool.*` and what `ledger.*` is asked by its items."""
    layout = look.spool
    if layout is None or not layout.root.is_dir():
        return
    yield from check_leftovers(layout, look.copies)
    yield from check_corrupt(look, layout)
    yield from check_reports(layout)
    total = sum(1 for _ in places(layout))
    done = read = 0
    found = places(layout)
    while batch := list(islice(found, BATCH)):
        records: list[tuple[Place, SpoolRecord]] = []
        for place in batch:
            record = yield from _item(look, layout, place)
            if record is None:
                continue
            if look.read_data or record.source_path:
                yield from _data(look, place, record)
                read += record.data_set_bytes if look.read_data else 0
                look.tick("spool", done + len(records), total, read)
            records.append((place, record))
        yield from _against_the_ledger(look, records)
        done += len(batch)
        look.tick("spool", done, max(total, done), read)


def places(layout: Layout) -> Iterator[Place]:
    """Every file that stands where items stand, in the order of folders and ids; memory is that of a bucket.

    Kept ones first: what is settled meanwhile is then passed over, and nothing is seen before the ledger knows it.
    """
    with suppress(FileNotFoundError):
        for bucket in sorted(os.listdir(layout.kept)):
            folder = layout.kept / bucket
            if not folder.is_dir():
                yield Place(folder, "kept")
                continue
            yield from (Place(folder / name, "kept") for name in sorted(item_names(folder)))
    for folder, kind in ((layout.aside, "aside"), (layout.new, "new")):
        yield from (Place(folder / name, kind) for name in sorted(item_names(folder)))


def _item(look: Look, layout: Layout, place: Place) -> Generator[Finding, None, SpoolRecord | None]:
    """One file: its name, its place, its record, which is what the generator returns; None where it cannot be trusted."""
    path = place.path
    if not is_id(path.stem) or path.suffix not in {ITEM, REFERENCE}:
        yield Finding(Invariant.SPOOL_NAME, path.name, f"is no item, and lies in {place.folder}/", path=path)
        return None
    try:
        record = read_item(path)
    except FileNotFoundError:
        return None  # settled, set aside or released meanwhile
    except SpoolCorrupt as error:
        yield _damaged(Invariant.SPOOL_RECORD, path, str(error) + one_file.of_item(look, path))
        return None
    except SpoolError as error:
        # Nothing is known of what it holds: it is told, and stays where it is.
        yield Finding(Invariant.SPOOL_RECORD, path.stem, str(error), spool_id=path.stem)
        return None
    if place.folder == "kept" and path.parent.name != layout.bucket_name(record.id):
        words = f"lies in kept/{path.parent.name}/, where nobody looks for it"
        yield Finding(Invariant.SPOOL_PLACE, record.id, words, spool_id=record.id, path=path)
    return record


def _damaged(invariant: Invariant, path: Path, words: str) -> Finding:
    return Finding(invariant, path.stem, words, spool_id=path.stem, path=path)


def _data(look: Look, place: Place, record: SpoolRecord) -> Iterator[Finding]:
    """The bytes themselves, or of a file that is not ours at least that they can be there."""
    path = Path(record.source_path) if record.source_path else place.path
    invariant = Invariant.SPOOL_SOURCE if record.source_path else Invariant.SPOOL_BYTES
    try:
        if look.read_data:
            verify_data_set(record, path)
        elif path.stat().st_size < record.data_set_offset + record.data_set_bytes:
            raise SpoolCorrupt(f"{path}: is shorter than it was")
    except (SpoolError, OSError) as error:
        if not place.path.exists():
            return  # released meanwhile
        words = str(error) if isinstance(error, SpoolError) else f"{path}: {error.strerror}"
        readable = isinstance(error, SpoolCorrupt)
        if readable and not record.source_path:
            words += one_file.of_item(look, place.path, record.sop_instance_uid)
        yield Finding(
            invariant,
            record.id,
            words,
            spool_id=record.id,
            sop_instance_uid=record.sop_instance_uid,
            # One that cannot be read for now stays where it is.
            path=place.path if readable else None,
            record=record,
        )


def _against_the_ledger(look: Look, records: list[tuple[Place, SpoolRecord]]) -> Iterator[Finding]:
    if look.ledger is None or not records:
        return
    known = look.ledger.by_spool_id([storable(record.id) for _, record in records])
    for place, record in records:
        entry = known.get(record.id)
        if entry is None:
            if place.is_settled and place.path.exists():
                yield Finding(
                    Invariant.LEDGER_KNOWN,
                    record.id,
                    f"lies in {place.folder}/, and the ledger does not know it",
                    spool_id=record.id,
                    sop_instance_uid=record.sop_instance_uid,
                    study_instance_uid=record.study_instance_uid,
                    path=place.path,
                    record=record,
                )
            continue
        yield from _facts(record, entry)
        if place.is_settled:
            yield from _aside(place, record, entry)
            yield from _released(place, record, entry)


def _facts(record: SpoolRecord, entry: InstanceEntry) -> Iterator[Finding]:
    facts = entry.facts
    pairs = {
        "SOP Instance UID": (storable(record.sop_instance_uid), facts.sop_instance_uid),
        "Series Instance UID": (storable(record.series_instance_uid), facts.series_instance_uid),
        "Study Instance UID": (storable(record.study_instance_uid), facts.study_instance_uid),
        "digest": (record.digest, facts.digest),
        "length": (record.data_set_bytes, facts.data_set_bytes),
        "offset": (record.data_set_offset, facts.data_set_offset),
    }
    wrong = [name for name, (ours, theirs) in pairs.items() if ours != theirs]
    if wrong:
        yield Finding(
            Invariant.LEDGER_FACTS,
            record.id,
            f"the ledger has another {', '.join(wrong)} than the record",
            spool_id=record.id,
            instance_id=facts.instance_id,
            sop_instance_uid=record.sop_instance_uid,
            study_instance_uid=facts.study_instance_uid,
            record=record,
        )


def _aside(place: Place, record: SpoolRecord, entry: InstanceEntry) -> Iterator[Finding]:
    is_aside = entry.state is InstanceState.SET_ASIDE
    if is_aside != (place.folder == "aside") and place.path.exists():
        yield Finding(
            Invariant.LEDGER_ASIDE,
            record.id,
            "is set aside, and lies in kept/" if is_aside else "counts for its UID, and lies in aside/",
            spool_id=record.id,
            instance_id=entry.facts.instance_id,
            sop_instance_uid=record.sop_instance_uid,
            path=place.path,
        )


def _released(place: Place, record: SpoolRecord, entry: InstanceEntry) -> Iterator[Finding]:
    ago = entry.released_ms_ago
    if ago is not None and ago > _RELEASED_MS and place.path.exists():
        yield Finding(
            Invariant.LEDGER_RELEASED,
            record.id,
            "was released, and is still there: it only takes room",
            Severity.NOTE,
            spool_id=record.id,
            instance_id=entry.facts.instance_id,
            sop_instance_uid=record.sop_instance_uid,
            path=place.path,
            record=record,
        )
