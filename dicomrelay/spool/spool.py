"""The spool: committed items, from arrival until everything that depends on them is done."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from dicomrelay.dicom.scan import Header
from dicomrelay.dicom.uids import derived_uid
from dicomrelay.errors import SpoolCorrupt, SpoolError
from dicomrelay.log import get_logger
from dicomrelay.spool import layout
from dicomrelay.spool.contents import Contents
from dicomrelay.spool.directory_sync import DirectorySync
from dicomrelay.spool.free_space import FreeSpace
from dicomrelay.spool.items import Left, clear_part
from dicomrelay.spool.layout import ITEM, PART, REFERENCE, Identity
from dicomrelay.spool.operations import OperatingSystem, Operations
from dicomrelay.spool.records import Provenance, SpoolRecord
from dicomrelay.spool.reserve import MAX_RESERVED, Reserve
from dicomrelay.spool.usage import SpoolUsage, usage_of
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


class Spool(Contents):
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
        super().__init__(root)
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

    def check_space(self) -> None:
        """Let pass, or say that there is no room.

        Raises
        ------
        SpoolFull
            Free space is under the low-water mark.
        """
        self._space.check()

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

    def usage(self, *, measured: int | None = None) -> SpoolUsage:
        """How full it is: `dicomrelay.spool.usage.usage_of`."""
        return usage_of(self._layout, free_bytes=self._space.measure(), measured=measured)
