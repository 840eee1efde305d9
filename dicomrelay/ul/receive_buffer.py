"""The receive buffer: bytes go in where the driver's `recv_into` puts them, whole PDUs come out as views of them.

Nothing is copied but the beginning of a PDU that does not fit behind what was read before it. The limits of a PDU's
length are checked as soon as its six header bytes are there, and memory grows with what has arrived, never with what
a header claims.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from typing import Final

from dicomrelay.errors import PeerSpeaksTls, RemoteProtocolError
from dicomrelay.ul.pdu import AbortReason

# type 1 + reserved 1 + length 4 (PS3.8 Section 9.3.1)
HEADER_BYTES: Final = 6
_HEADER = struct.Struct(">BxI")
_FIRST_BYTES: Final = 16_384
# The first byte of a TLS record (RFC 8446 Section 5.1): what a TLS client begins with, and what a TLS server refuses with.
_TLS_ALERT, _TLS_HANDSHAKE = 0x15, 0x16
# The first letter of "HTTP/1.1 400 Bad Request", and of the greetings of SSH.
_HINTS: Final = {0x48: ": an HTTP service answers so", 0x53: ": an SSH service answers so"}


class ReceiveBuffer:
    """Bytes received and not yet read.

    Parameters
    ----------
    limits : mapping of int to int
        For each PDU type the greatest value of its length field, in bytes; a type that is missing is unrecognized.

    Attributes
    ----------
    pdus_read : int
        How many whole PDUs came out.
    """

    __slots__ = ("_begin", "_bytes", "_capacity", "_end", "_limits", "_reading_bytes", "_view", "pdus_read")

    def __init__(self, limits: Mapping[int, int]) -> None:
        self._limits = limits
        self._capacity = HEADER_BYTES + max(limits.values())
        self._reading_bytes = 0
        self._bytes = _memory(min(_FIRST_BYTES, self._capacity))
        self._view = memoryview(self._bytes)
        self._begin = 0
        self._end = 0
        self.pdus_read = 0

    def __len__(self) -> int:
        return self._end - self._begin

    def enlarge(self, size_bytes: int) -> None:
        """Grow up to `size_bytes` as soon as reads fill what there is: one large read in place of many."""
        self._reading_bytes = size_bytes
        self._capacity = max(self._capacity, size_bytes)

    def shrink(self) -> None:
        """Give the memory back until data flows again, when nothing is held. Invalidates views."""
        if self._begin == self._end and len(self._bytes) > _FIRST_BYTES:
            self._grow(_FIRST_BYTES)

    def space(self) -> memoryview:
        """Where to receive into: never empty, and invalidates every view that was handed out before."""
        size = len(self._bytes)
        if self._end == size and size < self._reading_bytes:
            self._grow(min(4 * size, self._reading_bytes))
        elif self._begin == self._end:
            self._begin = self._end = 0
        elif self._end == size or not self._rest_fits():
            self._compact()
        return self._view[self._end :]

    def received(self, count: int) -> None:
        """`count` bytes were put at the start of `space`."""
        self._end += count

    def clear(self) -> None:
        """Forget everything."""
        self._begin = self._end = 0

    def next_pdu(self) -> tuple[int, memoryview] | None:
        """The type of the next whole PDU and its bytes behind the header; None when more is needed.

        Raises
        ------
        RemoteProtocolError
            For a type that is not known, or a length beyond its limit, as soon as the header is there.
        """
        begin = self._begin
        available = self._end - begin
        if available < HEADER_BYTES:
            return None
        pdu_type, length = _HEADER.unpack_from(self._bytes, begin)
        limit = self._limits.get(pdu_type)
        if limit is None or length > limit:
            raise _refusal(pdu_type, length, limit)
        after = begin + HEADER_BYTES + length
        if after > self._end:
            return None
        self._begin = after
        self.pdus_read += 1
        return pdu_type, self._view[begin + HEADER_BYTES : after]

    def take_exactly(self, pdu: bytes) -> bool:
        """Take the next PDU, header too, when its bytes are these and no more than its type may have."""
        begin, after = self._begin, self._begin + len(pdu)
        if (
            after > self._end
            or self._bytes[begin:after] != pdu
            or len(pdu) > HEADER_BYTES + self._limits[pdu[0]]
        ):
            return False
        self._begin = after
        self.pdus_read += 1
        return True

    def _rest_fits(self) -> bool:
        """Whether the PDU that has begun has room behind what is there."""
        if self._end - self._begin < HEADER_BYTES:
            return len(self._bytes) - self._begin >= HEADER_BYTES
        length: int = _HEADER.unpack_from(self._bytes, self._begin)[1]
        return self._begin + HEADER_BYTES + length <= len(self._bytes)

    def _compact(self) -> None:
        held = self._end - self._begin
        if self._begin:
            self._view[:held] = self._view[self._begin : self._end]
            self._begin, self._end = 0, held
        if held == len(self._bytes):
            self._grow(min(2 * held, self._capacity))

    def _grow(self, size_bytes: int) -> None:
        """Go on in a buffer of another size, with what is held at its front."""
        memory = _memory(size_bytes)
        view = memoryview(memory)
        held = self._end - self._begin
        view[:held] = self._view[self._begin : self._end]
        self._bytes, self._view = memory, view
        self._begin, self._end = 0, held


def _memory(size_bytes: int) -> bytearray | mmap.mmap:
    """A large buffer is pages of its own: those never written cost nothing, and all go back with the buffer.

    The allocator would keep them for the next thread that asks.
    """
    if size_bytes > _FIRST_BYTES and hasattr(mmap, "MAP_ANONYMOUS"):
        return mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return bytearray(size_bytes)


def _refusal(pdu_type: int, length: int, limit: int | None) -> RemoteProtocolError:
    if limit is None and pdu_type in {_TLS_ALERT, _TLS_HANDSHAKE}:
        return PeerSpeaksTls(
            f"the peer speaks TLS (it sent a record of type 0x{pdu_type:02X}), plain DICOM is spoken here",
            section="PS3.8 Section 9.3.1",
            abort_reason=AbortReason.UNRECOGNIZED_PDU,
        )
    if limit is None:
        return RemoteProtocolError(
            f"PDU type 0x{pdu_type:02X} is not one of 0x01 to 0x07{_HINTS.get(pdu_type, '')}",
            section="PS3.8 Section 9.3.1",
            abort_reason=AbortReason.UNRECOGNIZED_PDU,
        )
    return RemoteProtocolError(
        f"a PDU of type 0x{pdu_type:02X} claims {length} bytes, more than the {limit} that we take",
        section="PS3.8 Annex D.1",
        abort_reason=AbortReason.INVALID_PARAMETER_VALUE,
    )
