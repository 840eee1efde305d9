"""The bytes of an identifier while they arrive, and what may be in them; without pydicom, which not every command needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dicomrelay.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from dicomrelay.errors import MalformedDataSet

# An answer with a few hundred attributes is some 10 kB; a list of 15,000 failed UIDs fits.
MAX_IDENTIFIER_BYTES: Final = 1 << 20
UTF_8: Final = "ISO_IR 192"
# In the order of our liking; both are understood in answers.
IDENTIFIER_TRANSFER_SYNTAXES: Final = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)


class TooLarge(MalformedDataSet):
    """An identifier beyond `MAX_IDENTIFIER_BYTES`."""


class IdentifierBuffer:
    """Collects the fragments of one identifier, never more than `limit` bytes."""

    __slots__ = ("_data", "_limit")

    def __init__(self, limit: int = MAX_IDENTIFIER_BYTES) -> None:
        self._data = bytearray()
        self._limit = limit

    def add(self, fragments: Sequence[memoryview | bytes]) -> None:
        """Take the next bytes.

        Raises
        ------
        TooLarge
            Before a byte over the limit is kept.
        """
        for fragment in fragments:
            if len(self._data) + len(fragment) > self._limit:
                raise TooLarge(f"an identifier of more than {self._limit} bytes", offset=self._limit)
            self._data += fragment

    def take(self) -> bytes:
        """All of it; the buffer is empty afterwards."""
        data = bytes(self._data)
        self._data.clear()
        return data
