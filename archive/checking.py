"""An archive held against its own index, as closely as one likes. Findings come one by one; memory is that of a page."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from pydicom import dcmread
from pydicom.multival import MultiValue

from archive.attributes import UNREADABLE
from archive.check_values import NOTES, CheckLevel, Fault, Finding
from archive.index.health import Damage, Entry
from archive.layout import CONFLICTS, DATA
from archive.looking import Look, look_aside, look_at
from archive.storage import StoredObject
from archive.values import StoredInstance
from dicomrelay.errors import ArchiveError

if TYPE_CHECKING:
    from archive.archive import Archive

__all__ = ["NOTES", "CheckLevel", "Fault", "Finding", "check"]

_PAGE: Final = 1000
_PART: Final = ".part"
_UPLOADS: Final = "uploads"
# What is being written, or has no row yet, is not to be told of; nobody is at it for so long.
_YOUNG_S: Final = 3600.0


_FAULTS: Final = {
    Damage.GONE: Fault.MISSING,
    Damage.SIZE: Fault.SIZE,
    Damage.DIGEST: Fault.DIGEST,
    Damage.UNREADABLE: Fault.UNREADABLE,
}

Tick = Callable[[str, int, int], None]


def check(
    archive: Archive,
    levels: Collection[CheckLevel],
    *,
    on_progress: Tick = lambda _what, _done, _bytes: None,
    on_young: Callable[[int], None] = lambda _count: None,
    now_s: float | None = None,
) -> Iterator[Finding]:
    """Check an archive, also while others write to it.

    Parameters
    ----------
    levels : collection of CheckLevel
        What to look at.
    on_progress : callable
        Told of what is being looked at, how many of it are done, and how many bytes were read.
    on_young : callable
        Told at the end how many files without a row are younger than an hour: they may be about to get theirs.
    now_s : float, optional
        The time by the storage's clock, in seconds since the epoch; that of the index's database when not given.

    Raises
    ------
    ServiceUnavailable
        Index or storage do not answer.
    """
    index = archive.health
    if CheckLevel.INDEX in levels:
        yield from _known(archive)
    if {CheckLevel.SIZES, CheckLevel.DIGESTS, CheckLevel.DICOM} & set(levels):
        yield from _instances(archive, frozenset(levels), on_progress)
    if {CheckLevel.SIZES, CheckLevel.DIGESTS} & set(levels):
        yield from _set_aside(archive, on_progress, read=CheckLevel.DIGESTS in levels)
    if CheckLevel.ORPHANS in levels:
        now_s = index.now_ms() / 1000 if now_s is None else now_s
        yield from _orphans(archive, on_progress, on_young, now_s)


def _known(archive: Archive) -> Iterator[Finding]:
    for entry in archive.health.damaged():
        yield _about(entry.stored, _FAULTS[Damage(entry.damage or "")], "the scrub found it damaged")
    for wrong in archive.inventory().wrong_counters():
        level, _, uid = wrong.partition(" ")
        words = f"the counters of this {level} are not what the index has below it: rebuild it"
        yield Finding(Fault.COUNTERS, uid, words)


def _instances(archive: Archive, levels: frozenset[CheckLevel], on_progress: Tick) -> Iterator[Finding]:
    done, read, last = 0, 0, 0
    while entries := archive.health.after(last, _PAGE):
        for entry in entries:
            finding, count = _instance(archive, entry, levels)
            read += count
            done += 1
            if finding is not None and _is_still_so(archive, entry):
                yield finding
            if not done % 100:
                on_progress("instances", done, read)
        last = entries[-1].key
    on_progress("instances", done, read)


def _instance(archive: Archive, entry: Entry, levels: frozenset[CheckLevel]) -> tuple[Finding | None, int]:
    """What is wrong with it, and how many bytes were read to see that."""
    look: Look = look_at(archive.storage, entry.stored, entry.head_digest, read=CheckLevel.DIGESTS in levels)
    if look.damage is not None:
        return _about(entry.stored, _FAULTS[look.damage], look.words), look.read_bytes
    if CheckLevel.DICOM in levels:
        return _data_set(archive, entry.stored), look.read_bytes + entry.stored.file_bytes
    return None, look.read_bytes


def _set_aside(archive: Archive, on_progress: Tick, *, read: bool) -> Iterator[Finding]:
    """What was kept of other bytes is nowhere else: it is looked at as what is served."""
    done, count, last = 0, 0, 0
    while asides := archive.health.asides_after(last, _PAGE):
        for key, conflict in asides:
            look = look_aside(archive.storage, conflict, read=read)
            count += look.read_bytes
            done += 1
            if look.damage is not None:
                words = f"what was set aside under it: {look.words}"
                yield Finding(Fault.ASIDE, conflict.sop_instance_uid, words, key=conflict.relative_path)
            last = key
        on_progress("set aside", done, count)


def _data_set(archive: Archive, stored: StoredInstance) -> Finding | None:
    try:
        with archive.reading(stored) as path, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data_set = dcmread(path, stop_before_pixels=True, force=False)
            found = [
                _as_filed(data_set.get(keyword))
                for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID")
            ]
    except (*UNREADABLE, ArchiveError) as error:
        return _about(stored, Fault.NOT_DICOM, f"its data set cannot be read ({type(error).__name__})")
    wanted = (
        stored.sop_instance_uid,
        stored.study_instance_uid,
        stored.series_instance_uid,
        stored.sop_class_uid,
    )
    # What a data set leaves out was derived when it was filed.
    other = [uid for uid, want in zip(found, wanted, strict=True) if uid and uid != want]
    if other:
        return _about(
            stored, Fault.DISAGREES, f"its data set names {other[0]}, and it is filed as something else"
        )
    return None


def _as_filed(value: object) -> str:
    """A UID as it is filed: the whole value, also where a backslash makes several of it (its VM is 1, PS3.6 Chapter 6)."""
    if isinstance(value, MultiValue):
        return "\\".join(map(str, value))
    return str(value or "")


def _is_still_so(archive: Archive, entry: Entry) -> bool:
    """Whether its row is the same as when it was looked at: others may remove or replace it at any time."""
    now = archive.health.after(entry.key - 1, 1)
    return bool(now) and now[0].stored == entry.stored


def _orphans(
    archive: Archive, on_progress: Tick, on_young: Callable[[int], None], now_s: float
) -> Iterator[Finding]:
    inventory = archive.inventory()
    done = young = 0
    places: tuple[tuple[str, Callable[[list[str]], Collection[str]]], ...] = (
        (DATA, inventory.stored_at),
        (CONFLICTS, inventory.set_aside_at),
    )
    for folder, with_rows in places:
        for page in archive.storage.list(folder):
            known = with_rows([each.key for each in page])
            for each in page:
                # Files come before their rows: a young one is about to get its own.
                if each.key in known:
                    continue
                if now_s - each.changed_s > _YOUNG_S:
                    yield _orphan(each)
                else:
                    young += 1
            done += len(page)
            on_progress("files", done, 0)
    on_young(young)
    for page in archive.storage.list(_UPLOADS):
        for each in page:
            if now_s - each.changed_s > _YOUNG_S:
                yield Finding(Fault.LEFTOVER, _end(each.key), "an upload that nobody finished", key=each.key)


def _orphan(each: StoredObject) -> Finding:
    name = _end(each.key)
    if name.startswith(".") and name.endswith(_PART):
        return Finding(Fault.LEFTOVER, name, "nobody has written to it for an hour", key=each.key)
    if each.key.startswith(f"{CONFLICTS}/"):
        words = "was set aside, and the index does not list it: it does when the same bytes come again, or when it is rebuilt"
        return Finding(Fault.ORPHAN, name, words, key=each.key)
    return Finding(Fault.ORPHAN, name, "is a file that the index does not know", key=each.key)


def _end(key: str) -> str:
    """The last part of a path is made of a UID; above that is the patient's id."""
    return PurePosixPath(key).name


def _about(stored: StoredInstance, fault: Fault, words: str) -> Finding:
    return Finding(
        fault,
        stored.sop_instance_uid,
        words,
        study_instance_uid=stored.study_instance_uid,
        key=stored.relative_path,
    )
