"""The body of a STOW-RS request: Part 10 files in multipart/related, made while they are sent (PS3.18 Section 8.6.1.2)."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from dicomrelay.dicom.part10 import FileMeta, encode_file_meta
from dicomrelay.dicom.transfer_syntaxes import transfer_syntax
from dicomrelay.errors import SpoolCorrupt, SpoolError
from dicomrelay.net.outgoing_store import StoreItem

# Of a file, in memory at a time.
_PIECE_BYTES: Final = 262_144
_PART_HEAD: Final = b"Content-Type: application/dicom\r\n\r\n"


class NotReadable(SpoolError):
    """An instance of a body cannot be read; the request has ended within it.

    Parameters
    ----------
    number : int
        Which, from 0.
    error : OSError or SpoolCorrupt
    """

    def __init__(self, number: int, error: OSError | SpoolCorrupt) -> None:
        super().__init__(f"instance {number + 1} of a request cannot be read")
        self.number = number
        self.error = error


@dataclass(frozen=True, slots=True)
class _Part:
    item: StoreItem
    head: bytes
    padding: bytes

    @property
    def length(self) -> int:
        return len(self.head) + self.item.data_set_bytes + len(self.padding)


class Body:
    """Some instances as one body, whose length is known before a file is opened; it can be sent more than once.

    Parameters
    ----------
    items : sequence of StoreItem
        With the paths of their files.
    calling_ae_title : str
        Who sends them, for their file meta.
    boundary : str, optional
        In no part; by default one that nobody can guess.
    """

    def __init__(
        self, items: Sequence[StoreItem], *, calling_ae_title: str = "", boundary: str | None = None
    ) -> None:
        self._boundary = (boundary or f"dicomrelay-{uuid.uuid4().hex}").encode()
        self._parts = [self._part(item, calling_ae_title) for item in items]
        self._end = b"\r\n--" + self._boundary + b"--\r\n"
        self.length = sum(part.length for part in self._parts) + len(self._end)

    @property
    def content_type(self) -> str:
        """For the request's header."""
        return f'multipart/related; type="application/dicom"; boundary="{self._boundary.decode()}"'

    def pieces(self, pace: Callable[[int], None]) -> Iterator[bytes]:
        """All of it, a piece at a time.

        Parameters
        ----------
        pace : callable
            Called with the bytes of a data set before they are sent; it may wait.

        Raises
        ------
        NotReadable
            A file cannot be read, or is not as long as its item says.
        """
        for number, part in enumerate(self._parts):
            yield part.head
            try:
                yield from _data_set(part.item, pace)
            except (OSError, SpoolCorrupt) as error:
                raise NotReadable(number, error) from error
            if part.padding:
                yield part.padding
        yield self._end

    def _part(self, item: StoreItem, calling_ae_title: str) -> _Part:
        meta = FileMeta(
            sop_class_uid=item.sop_class_uid,
            sop_instance_uid=item.sop_instance_uid,
            transfer_syntax_uid=item.transfer_syntax_uid,
            sending_ae_title=calling_ae_title,
        )
        head = b"\r\n--" + self._boundary + b"\r\n" + _PART_HEAD + encode_file_meta(meta)
        # A deflated stream may be odd in a file, and gets a NUL (PS3.5 Annex A.5).
        odd = item.data_set_bytes & 1 and transfer_syntax(item.transfer_syntax_uid).is_deflated
        return _Part(item, head, b"\0" if odd else b"")


def _data_set(item: StoreItem, pace: Callable[[int], None]) -> Iterator[bytes]:
    left = item.data_set_bytes
    with item.path.open("rb", buffering=0) as file:
        file.seek(item.data_set_offset)
        while left:
            piece = file.read(min(left, _PIECE_BYTES))
            if not piece:
                raise SpoolCorrupt("the file is shorter than when it was acknowledged")
            left -= len(piece)
            pace(len(piece))
            yield piece
