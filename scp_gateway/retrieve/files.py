"""The files of a retrieve: found at the last moment, read ahead by the system, given back when they are sent."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Final

from dicomrelay.delivery import Instance
from dicomrelay.errors import RelayError, SpoolCorrupt
from dicomrelay.net.outgoing_store import StoreItem
from scp_gateway.archive_port import ArchivePort

if TYPE_CHECKING:
    from scp_gateway.archive_port import StoredInstance

# How many instances are made ready before their turn.
_AHEAD: Final = 8
# A file that takes longer comes from somewhere else: others are fetched beside it.
_SLOW_S: Final = 0.02
_AT_ONCE: Final = 4
_O_CLOEXEC: Final = getattr(os, "O_CLOEXEC", 0)
_Held = tuple[AbstractContextManager[Path], Path]


class RetrievedFiles:
    """Of one retrieve. Not for several threads at once.

    Parameters
    ----------
    stored : sequence of StoredInstance
        What is retrieved, in this order.
    originator : tuple of (str, int), optional
        Of a C-MOVE: AE title and message id of who asked.

    Attributes
    ----------
    instances : list of Instance
        The same, as something to deliver.
    """

    def __init__(
        self,
        archive: ArchivePort,
        stored: Sequence[StoredInstance],
        originator: tuple[str, int] | None = None,
    ) -> None:
        self._archive = archive
        self._stored = stored
        self._held: dict[int, _Held] = {}
        self._coming: dict[int, Future[_Held]] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._ahead = 0  # of those before it something was begun
        self.instances = [
            Instance(str(number), _item(each, originator)) for number, each in enumerate(stored)
        ]

    def uid(self, key: str) -> str:
        """The SOP Instance UID of an instance."""
        return self._stored[int(key)].sop_instance_uid

    def locate(self, instance: Instance) -> Path:
        """Where its file is.

        Raises
        ------
        SpoolCorrupt
            It is not there any more, or not as the index knows it.
        OSError
            It cannot be had now.
        """
        number = int(instance.key)
        try:
            path = self._hold(number)
            self._make_ready(number)
            size = path.stat().st_size
        except FileNotFoundError:
            raise SpoolCorrupt("the archive has no file of it any more: not sent") from None
        except RelayError as error:
            raise OSError(f"the archive does not give its file: {type(error).__name__}") from None
        if size != self._stored[number].file_bytes:
            raise SpoolCorrupt("its file in the archive has another size than the index knows: not sent")
        return path

    def sent(self, key: str) -> None:
        """It is over with that one."""
        held = self._held.pop(int(key), None)
        if held is not None:
            held[0].__exit__(None, None, None)

    def close(self) -> None:
        """It is over with all of them."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        for number, coming in self._coming.items():
            if coming.done() and not coming.cancelled() and coming.exception() is None:
                self._held[number] = coming.result()
        self._coming.clear()
        for number in [*self._held]:
            self.sent(str(number))

    def _hold(self, number: int) -> Path:
        coming = self._coming.pop(number, None)
        if coming is not None:
            self._held[number] = coming.result()
        elif number not in self._held:
            began = monotonic()
            self._held[number] = self._opened(number)
            if self._pool is None and monotonic() - began > _SLOW_S:
                self._pool = ThreadPoolExecutor(_AT_ONCE, "retrieve")
        return self._held[number][1]

    def _make_ready(self, number: int) -> None:
        """What comes next is read, or fetched, while this one is sent; what cannot be is tried again in its turn."""
        for ahead in range(max(self._ahead, number + 1), min(number + 1 + _AHEAD, len(self._stored))):
            self._ahead = ahead + 1
            if self._pool is not None:
                self._coming[ahead] = self._pool.submit(self._opened, ahead)
                continue
            with suppress(RelayError, OSError):
                self._held[ahead] = self._opened(ahead)

    def _opened(self, number: int) -> _Held:
        context = self._archive.local_file(self._stored[number])
        path = context.__enter__()
        if hasattr(os, "posix_fadvise"):
            with suppress(OSError):  # whoever sends it says so
                _read_ahead(path)
        return context, path


def _read_ahead(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | _O_CLOEXEC)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_WILLNEED)
    finally:
        os.close(descriptor)


def _item(stored: StoredInstance, originator: tuple[str, int] | None) -> StoreItem:
    """What is to be sent; where it lies is looked up at the last moment."""
    return StoreItem(
        sop_class_uid=stored.sop_class_uid,
        sop_instance_uid=stored.sop_instance_uid,
        transfer_syntax_uid=stored.transfer_syntax_uid,
        path=Path(),
        data_set_offset=stored.data_set_offset,
        data_set_bytes=stored.data_set_bytes,
        originator=originator,
    )
