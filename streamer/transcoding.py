"""Copies in other transfer syntaxes for those who ask: a few workshops, each with a child process (docs/design/transcode.md)."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from archive import StoredInstance
from archive.renditions.renditions import Renditions
from dicomrelay.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from dicomrelay.errors import NotTranscodable, ServiceUnavailable
from dicomrelay.transcode.syntaxes import compressible, producible
from dicomrelay.transcode.values import Source
from dicomrelay.transcode.workshop import Workshop
from streamer.answers import HttpError

AT_ONCE: Final = 2
_PATIENCE_S: Final = 30
_RETRY_AFTER_S: Final = 10


@dataclass(slots=True)
class OpenCopy:
    """A data set in another transfer syntax: an open file without a name. Close the descriptor."""

    descriptor: int
    length: int


class Transcoding:
    """Makes copies, few at once. `close` ends the children.

    Parameters
    ----------
    place : Path, optional
        Where copies are made; a folder of the system's temporary ones when not given, or where it cannot be made.
    renditions : Renditions, optional
        Makes and keeps the compressed ones.
    """

    def __init__(
        self,
        place: Path | None = None,
        *,
        patience_s: float = _PATIENCE_S,
        renditions: Renditions | None = None,
    ) -> None:
        self._renditions = renditions
        self._place = place
        self._patience_s = patience_s
        self._free = threading.BoundedSemaphore(AT_ONCE)
        self._lock = threading.Lock()
        self._idle: list[Workshop] = []
        self._temporary = ExitStack()

    def others(self, transfer_syntax_uid: str) -> Sequence[str]:
        """The transfer syntaxes that a copy can be in."""
        compressed = compressible(transfer_syntax_uid) if self._renditions is not None else ()
        return (*producible(transfer_syntax_uid), *compressed)

    @staticmethod
    def frame_syntaxes(transfer_syntax_uid: str) -> Sequence[str]:
        """The ones that single frames can be in."""
        made = producible(transfer_syntax_uid)
        return (EXPLICIT_VR_LITTLE_ENDIAN,) if EXPLICIT_VR_LITTLE_ENDIAN in made else ()

    def copy(self, source: Source, transfer_syntax_uid: str) -> OpenCopy:
        """Make a copy; may wait for others, and takes as long as decoding takes: for a thread.

        Raises
        ------
        HttpError
            406: it cannot be made without loss, or within the limits. 503: too many are asked for.
        ServiceUnavailable
            There is no room for it.
        """
        return self._in_turn(lambda: self._made(source, transfer_syntax_uid), transfer_syntax_uid)

    def compressed(self, stored: StoredInstance, transfer_syntax_uid: str) -> OpenCopy:
        """A copy of an instance in a compressed transfer syntax, as it is kept, or made now. Raises as `copy`."""
        renditions = self._renditions
        if renditions is None:
            raise HttpError(406, "nothing is compressed here")
        return self._in_turn(
            lambda: OpenCopy(*renditions.copy(stored, transfer_syntax_uid)), transfer_syntax_uid
        )

    def _in_turn(self, make: Callable[[], OpenCopy], transfer_syntax_uid: str) -> OpenCopy:
        if not self._free.acquire(timeout=self._patience_s):
            raise HttpError(
                503,
                "too many copies in another transfer syntax are being made: ask again later",
                headers=((b"retry-after", str(_RETRY_AFTER_S).encode()),),
            )
        try:
            return make()
        except NotTranscodable as error:
            raise HttpError(406, f"not in transfer syntax {transfer_syntax_uid}: {error}") from error
        except OSError as error:
            # Not from it: its path may hold the patient id.
            raise ServiceUnavailable(
                f"no copy could be made: {error.strerror or type(error).__name__}"
            ) from None
        finally:
            self._free.release()

    def close(self) -> None:
        """End the children and remove what is left."""
        with self._lock:
            idle, self._idle = self._idle, []
        for workshop in idle:
            with suppress(OSError):
                workshop.close()
        self._temporary.close()

    def _made(self, source: Source, transfer_syntax_uid: str) -> OpenCopy:
        workshop = self._workshop()
        try:
            made = workshop.copy(source, transfer_syntax_uid)
            try:
                return OpenCopy(os.open(made.path, os.O_RDONLY | os.O_CLOEXEC), made.length)
            finally:
                workshop.discard(made)
        finally:
            with self._lock:
                self._idle.append(workshop)

    def _workshop(self) -> Workshop:
        with self._lock:
            if self._idle:
                return self._idle.pop()
            if self._place is None or not _can_be_made(self._place):
                made = tempfile.TemporaryDirectory(prefix="dicomrelay-", ignore_cleanup_errors=True)
                self._place = Path(self._temporary.enter_context(made))
        return Workshop(self._place)


def _can_be_made(place: Path) -> bool:
    """Whether a folder is there or could be made: in a container the home may be read-only."""
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(place, os.W_OK)
