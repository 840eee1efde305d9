"""What lies in a spool: reading, moving and removing committed items."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from dicomrelay.errors import SpoolCorrupt, SpoolError
from dicomrelay.log import get_logger
from dicomrelay.spool import layout
from dicomrelay.spool.items import item_names, move_items, read_item, verify_data_set
from dicomrelay.spool.layout import ITEM, PART, REFERENCE, Layout, begun_ms
from dicomrelay.spool.records import SpoolRecord
from dicomrelay.spool.writer import spool_error

_log = get_logger("dicomrelay.spool")


class Contents:
    """The committed items under `root`, as `Spool` shows them. Safe for many threads.

    Parameters
    ----------
    root : Path
        The directory of the spool.

    Raises
    ------
    SpoolError
        The directories cannot be made.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._layout = Layout(root)
        self._layout.create()
        self._unreadable: set[str] = set()  # names of items that could not be read when they were last tried

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

    def _buckets(self) -> list[Path]:
        return [self._layout.kept / name for name in os.listdir(self._layout.kept)]


def _is_there(name: str) -> bool:
    """Whether there is such a file. Raises OSError where the file system does not say."""
    try:
        os.stat(name)  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
