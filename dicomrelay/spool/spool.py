"""The spool: committed items, from arrival until everything that depends on them is done."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Self

from dicomrelay.dicom.scan import Header
from dicomrelay.dicom.uids import derived_uid
from dicomrelay.errors import SpoolCorrupt, SpoolError
from dicomrelay.log import get_logger
from dicomrelay.spool import layout
from dicomrelay.spool.directory_sync import DirectorySync
from dicomrelay.spool.free_space import FreeSpace
from dicomrelay.spool.items import (
    Left,
    clear_part,
    count_items,
    item_names,
    move_items,
    read_item,
    verify_data_set,
)
from dicomrelay.spool.layout import ITEM, PART, REFERENCE, Identity, Layout, begun_ms
from dicomrelay.spool.operations import OperatingSystem, Operations
from dicomrelay.spool.records import Provenance, SpoolRecord
from dicomrelay.spool.reserve import MAX_RESERVED, Reserve
from dicomrelay.spool.writer import SpoolWriter, spool_error, write_reference

_log = get_logger("dicomrelay.spool")


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was found at start.

    Attributes
    ----------
    swept : int
        Files of dead writers, never acknowledged, that were removed.
    waiting : int
        Committed items that are not yet in the ledger.
    """

    swept: int
    waiting: int


@dataclass(frozen=True, slots=True)
class SpoolUsage:
    """How full the spool is: items by folder, bytes of their files, bytes free on the file system."""

    new: int
    kept: int
    aside: int
    corrupt: int
    bytes: int
    free_bytes: int
    bytes_estimated: bool = False  # from the sizes of some of the files


class Spool:
    """The spool under `root`. Safe for many threads; several processes may share one, each with its own object.

    Parameters
    ----------
    root : Path
        Its directory, made if need be.
    min_free_bytes : int
        The low-water mark: under it no writer is given out.
    operations : Operations, optional
        The system calls of a commit, for tests that make them fail.
    max_reserved : int
        Names to make durable at once, ahead of the items that will bear them.
    gives_blocks : bool
        Give those files blocks too, for small items.
    works_ahead : bool
        Do that in a thread of its own: for a process that receives all day.

    Raises
    ------
    SpoolError
        The directories cannot be made.
    """

    def __init__(
        self,
        root: Path,
        *,
        min_free_bytes: int = 0,
        operations: Operations | None = None,
        max_reserved: int = MAX_RESERVED,
        gives_blocks: bool = False,
        works_ahead: bool = False,
    ) -> None:
        self.root = root
        self._layout = Layout(root)
        self._layout.create()
        self._operations = operations or OperatingSystem()
        self._space = FreeSpace(root, min_free_bytes)
        self._names = DirectorySync(self._layout.new, self._operations)
        self._new = str(self._layout.new)
        self._max_reserved = max_reserved
        self._gives_blocks = gives_blocks
        self._works_ahead = works_ahead
        self._identity: Identity | None = None
        self._reserve: Reserve | None = None
        self._identity_lock = threading.Lock()
        self._unreadable: set[str] = set()  # names of items that could not be read when they were last tried

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop being a writer; every `SpoolWriter` must have ended."""
        if self._identity is not None and self._identity.pid == os.getpid():
            if self._reserve is not None:
                self._reserve.close()
            self._identity.close()
        self._names.close()

    def _writing(self) -> tuple[Identity, Reserve]:
        """This process as a writer; a fork of it is another."""
        identity, reserve = self._identity, self._reserve
        if identity is None or reserve is None or identity.pid != os.getpid():
            with self._identity_lock:
                identity, reserve = self._identity, self._reserve
                if identity is None or reserve is None or identity.pid != os.getpid():
                    try:
                        identity = Identity(self._layout)
                    except OSError as error:
                        raise spool_error(self._layout.writers, "no lock file can be made", error) from error
                    reserve = Reserve(
                        self._new,
                        identity.next_id,
                        operations=self._operations,
                        names=self._names,
                        at_most=self._max_reserved,
                        gives_blocks=self._gives_blocks,
                        works_ahead=self._works_ahead,
                    )
                    self._identity, self._reserve = identity, reserve
        return identity, reserve

    def writer(
        self,
        *,
        sop_class_uid: str,
        sop_instance_uid: str,
        transfer_syntax_uid: str,
        provenance: Provenance,
        send_to: tuple[str, ...] = (),
    ) -> SpoolWriter:
        """Begin an item.

        Raises
        ------
        SpoolFull
            Free space is under the low-water mark; nothing was written.
        SpoolError
            The file cannot be made.
        """
        self._space.check()
        identity, reserve = self._writing()
        first = SpoolRecord(
            id=identity.next_id(),
            sop_class_uid=sop_class_uid,
            sop_instance_uid=sop_instance_uid,
            study_instance_uid="",
            series_instance_uid="",
            transfer_syntax_uid=transfer_syntax_uid,
            modality="",
            data_set_offset=0,
            data_set_bytes=0,
            digest="",
            provenance=provenance,
            send_to=send_to,
        )
        return SpoolWriter(first, self._new, operations=self._operations, reserve=reserve, space=self._space)

    def add_reference(
        self,
        path: Path,
        *,
        header: Header,
        transfer_syntax_uid: str,
        data_set_offset: int,
        data_set_bytes: int,
        digest: str,
        provenance: Provenance,
        send_to: tuple[str, ...] = (),
    ) -> SpoolRecord:
        """Add a file that stays where it lies: only its record is written, as durably as an item.

        Parameters
        ----------
        digest : str
            SHA-256 of the data set, hexadecimal: what is sent later is held against it.

        Raises
        ------
        SpoolError
            The record is not durable, and its file is gone.
        """
        self._space.check()
        instance = header.sop_instance_uid
        identity, _ = self._writing()
        record = SpoolRecord(
            id=identity.next_id(),
            sop_class_uid=header.sop_class_uid,
            sop_instance_uid=instance,
            study_instance_uid=header.study_instance_uid or derived_uid("study", instance),
            series_instance_uid=header.series_instance_uid or derived_uid("series", instance),
            transfer_syntax_uid=transfer_syntax_uid,
            modality=header.modality,
            data_set_offset=data_set_offset,
            data_set_bytes=data_set_bytes,
            digest=digest,
            provenance=provenance,
            source_path=str(path.absolute()),
            send_to=send_to,
        )
        write_reference(record, self._layout.new, self._operations, self._names)
        return record

    def recover(self) -> Recovery:
        """Clear away what dead writers left, and count what waits. For the start; harmless at any time."""
        alive: dict[str, bool] = {}
        swept = waiting = 0
        for name in os.listdir(self._layout.new):
            stem, dot, suffix = name.partition(".")
            if dot + suffix != PART:
                waiting += dot + suffix in {ITEM, REFERENCE}
                continue
            token = layout.writer_token(stem)
            if token not in alive:
                alive[token] = layout.is_alive(self._layout.writers, token)
            if not alive[token]:
                left = self._clear(self._layout.new / name)
                swept += left is Left.SWEPT
                waiting += left is Left.WHOLE
        if waiting:
            self._names.sync()
        for token in os.listdir(self._layout.writers):
            layout.is_alive(self._layout.writers, token)
        return Recovery(swept=swept, waiting=waiting)

    def _clear(self, path: Path) -> Left:
        """What a dead writer left: given its own name when it is whole, taken away when it was never acknowledged."""
        try:
            left = clear_part(path, self._layout.new)
        except SpoolCorrupt as error:
            self._put_away(path, reason=str(error))
        except SpoolError as error:
            self._leave(path, reason=str(error))
        else:
            return left
        return Left.OTHER

    def arrivals(self, limit: int) -> list[SpoolRecord]:
        """The oldest items that are not yet settled, at most `limit`.

        One that cannot be trusted is moved to `corrupt/`, logged, and left out. One that cannot be read for now is
        logged once, left out, and stays where it is.

        Raises
        ------
        SpoolError
            The directory cannot be read.
        """
        return next(self.arrival_batches(limit), [])

    def arrival_batches(self, limit: int) -> Iterator[list[SpoolRecord]]:
        """What `arrivals` gives, batch after batch, each item once: the directory is listed anew only when the last
        listing is used up.

        Raises
        ------
        SpoolError
            The directory cannot be read.
        """
        tried: set[str] = set()
        while True:
            listed = set(item_names(self._layout.new))
            fresh = sorted(listed - tried)
            if not fresh:
                return
            tried = listed
            found = (self._read(self._layout.new / name) for name in fresh)
            records = (record for record in found if record is not None)
            while batch := list(islice(records, limit)):
                yield batch

    def has_arrivals(self) -> bool:
        """Whether anything waits to be settled; looks no further than the first name of an item.

        Raises
        ------
        SpoolError
            The directory cannot be read.
        """
        return any(True for _ in item_names(self._layout.new))

    def has_arrivals_until(self, until_ms: int) -> bool:
        """Whether an item waits to be settled that was begun by then, in milliseconds since the epoch.

        Raises
        ------
        SpoolError
            The directory cannot be read.
        """
        return any(begun_ms(name) <= until_ms for name in item_names(self._layout.new))

    def _read(self, path: Path) -> SpoolRecord | None:
        try:
            record = read_item(path)
        except FileNotFoundError:
            record = None  # settled by another process in the meantime
        except SpoolCorrupt as error:
            self._put_away(path, reason=str(error))
            return None
        except SpoolError as error:
            self._leave(path, reason=str(error))
            return None
        self._unreadable.discard(path.name)
        return record

    def _put_away(self, path: Path, *, reason: str) -> None:
        name = path.stem + ITEM if path.suffix == PART else path.name
        try:
            path.rename(self._layout.corrupt / name)
        except FileNotFoundError:
            return
        except OSError as error:
            self._leave(path, reason=f"{reason}; and it cannot be put away: {error.strerror}")
            return
        self._unreadable.discard(path.name)
        _log.error("item is corrupt and was put away", action="spool.corrupt", reason=reason)

    def put_away(self, item_id: str, *, reason: str) -> None:
        """An item is not what it should be: to `corrupt/`, from where nothing is read. One that is gone is passed over.

        Parameters
        ----------
        reason : str
            For the log.
        """
        places = self._layout
        for path in self._names_of(item_id, places.new, places.bucket(item_id), places.aside):
            self._put_away(path, reason=reason)

    def _leave(self, path: Path, *, reason: str) -> None:
        if path.name not in self._unreadable:
            self._unreadable.add(path.name)
            _log.error(
                "item is left where it is, to be tried again", action="spool.unreadable", reason=reason
            )

    def settle(self, ids: Iterable[str]) -> None:
        """The ledger has these: from `new/` to `kept/`. Those settled already are passed over.

        Raises
        ------
        SpoolError
            The file system refused; settling again goes on where it stopped.
        """
        self._move(
            (path, self._layout.bucket(item_id))
            for item_id in ids
            for path in self._names_of(item_id, self._layout.new)
        )

    def set_aside(self, ids: Iterable[str]) -> None:
        """These are in conflict with others of the same SOP Instance UID: to `aside/`.

        Raises
        ------
        SpoolError
            The file system refused; calling again goes on where it stopped.
        """
        self._move(
            (path, self._layout.aside)
            for item_id in ids
            for path in self._names_of(item_id, self._layout.new, self._layout.bucket(item_id))
        )

    def is_aside(self, item_id: str) -> bool:
        """Whether the item was set aside: the way it lies is all that says so once a ledger is lost."""
        return bool(self._names_of(item_id, self._layout.aside))

    def _move(self, moves: Iterable[tuple[Path, Path]]) -> None:
        try:
            move_items(moves)
        except OSError as error:
            raise spool_error(self.root, "items cannot be moved", error) from error

    def _names_of(self, item_id: str, *folders: Path) -> list[Path]:
        if not layout.is_id(item_id):
            return []
        # As text, and made paths where something is: of most of them nothing is, and this is done for every item.
        names = (f"{folder}/{item_id}{suffix}" for folder in folders for suffix in (ITEM, REFERENCE))
        return [Path(name) for name in names if _is_there(name)]

    def remove(self, ids: Iterable[str]) -> None:
        """Every delivery and the archive are done with these: unlink them. Those already gone are passed over."""
        buckets = set()
        for item_id in ids:
            bucket = self._layout.bucket(item_id)
            for path in self._names_of(item_id, self._layout.new, bucket, self._layout.aside):
                path.unlink(missing_ok=True)
                buckets.add(bucket)
        for bucket in buckets:
            with suppress(OSError):
                bucket.rmdir()

    def locate(self, item_id: str) -> Path:
        """The file that holds the data set of an item now: one of ours, or the one that a reference points at.

        Raises
        ------
        SpoolCorrupt
            The item is nowhere, or in `corrupt/`, or its record does not agree.
        SpoolError
            It cannot be read, for now.
        """
        path = self._layout.find(item_id)
        return Path(self.record(item_id).source_path) if path.suffix == REFERENCE else path

    def record(self, item_id: str) -> SpoolRecord:
        """What is known about an item.

        Raises
        ------
        SpoolCorrupt
            The item is nowhere, or in `corrupt/`, or its record or its size does not agree.
        SpoolError
            It cannot be read, for now.
        """
        with suppress(FileNotFoundError):
            return read_item(self._layout.find(item_id))
        try:  # it was on its way from one folder to another
            return read_item(self._layout.find(item_id))
        except FileNotFoundError as error:
            raise SpoolCorrupt(f"{self.root}: no item {item_id} any more") from error

    def records(self) -> Iterator[SpoolRecord]:
        """Every item, set aside ones too, in the order of arrival: what a ledger is rebuilt from.

        Those that cannot be trusted or read are left out as by `arrivals`.

        Raises
        ------
        SpoolError
            A directory cannot be read.
        """
        # Buckets last: what is settled meanwhile is then found where it went.
        folders = [self._layout.new, self._layout.aside, *self._buckets()]
        names = {name: folder for folder in folders for name in item_names(folder)}
        for name in sorted(names):
            record = self._read(names[name] / name)
            if record is not None:
                yield record

    def verify(self, item_id: str) -> SpoolRecord:
        """Read the data set of an item again and hold it against its digest.

        Raises
        ------
        SpoolCorrupt
            It is gone, has another size, or other bytes.
        SpoolError
            It cannot be read, for now.
        """
        record = self.record(item_id)
        verify_data_set(record, self.locate(item_id))
        return record

    def usage(self, *, measured: int | None = None) -> SpoolUsage:
        """Count everything; it reads every folder of the spool.

        Parameters
        ----------
        measured : int, optional
            Ask about so many files for their size at most, and take the others to be like them; by default all.
        """
        places = self._layout
        buckets = self._buckets()
        each = None if measured is None else max(1, measured // (3 + len(buckets)))
        new, aside, corrupt, *kept = (
            count_items(folder, measured=each)
            for folder in (places.new, places.aside, places.corrupt, *buckets)
        )
        return SpoolUsage(
            new=new.items,
            kept=sum(bucket.items for bucket in kept),
            aside=aside.items,
            corrupt=corrupt.items,
            bytes=sum(folder.bytes for folder in (new, aside, corrupt, *kept)),
            free_bytes=self._space.measure(),
            bytes_estimated=any(folder.estimated for folder in (new, aside, corrupt, *kept)),
        )

    def _buckets(self) -> list[Path]:
        return [self._layout.kept / name for name in os.listdir(self._layout.kept)]


def _is_there(name: str) -> bool:
    """Whether there is such a file. Raises OSError where the file system does not say."""
    try:
        os.stat(name)  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
