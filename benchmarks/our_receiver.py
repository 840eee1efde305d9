"""Our acceptor with the plainest sink: what the minimal receiver does, with every check of the engine on.

Usage: python -m benchmarks.our_receiver PORT DIRECTORY [count]

With `count` nothing is kept: each data set becomes one line of counts.txt, its SOP Instance UID, bytes and CRC-32.
"""

from __future__ import annotations

import os
import struct
import sys
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

from dicomrelay.dicom.file_names import component
from dicomrelay.dicom.uids import is_tolerable_uid
from dicomrelay.dimse.messages import CStoreRequest
from dicomrelay.net.acceptor import Acceptor, listen
from dicomrelay.net.limits import AcceptorLimits
from dicomrelay.net.service import (
    Acceptance,
    Admission,
    AssociationEnding,
    AssociationInfo,
    PeerConnection,
    StoreReply,
    StoreSink,
)
from dicomrelay.ul.pdu import AssociateRequest, AsynchronousOperations, ContextDecision, ContextResult

# The most operations that we let a requestor have outstanding.
MAX_WINDOW = 16
COUNTS = "counts.txt"


class FileSink:
    """Writes a Part 10 file named after the instance, without a flush."""

    def __init__(self, directory: str, request: CStoreRequest, transfer_syntax_uid: str) -> None:
        self._path = f"{directory}/{component(request.sop_instance_uid)}"
        self._out = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        self._head: list[memoryview] = [memoryview(_file_head(request, transfer_syntax_uid))]

    def write(self, fragments: Sequence[memoryview]) -> None:
        """One writev, the file's head with the first."""
        if self._head:
            fragments, self._head = [*self._head, *fragments], []
        if os.writev(self._out, fragments) != sum(map(len, fragments)):
            raise OSError("a short write")

    def finish(self) -> StoreReply:
        """Success."""
        os.close(self._out)
        return StoreReply(0)

    def abandon(self) -> None:
        """Half an instance is none."""
        os.close(self._out)
        Path(self._path).unlink()


class CountingSink:
    """Keeps the length and the CRC-32 of a data set of any size, and not the data set."""

    def __init__(self, directory: str, request: CStoreRequest, transfer_syntax_uid: str) -> None:  # noqa: ARG002
        self._path = f"{directory}/{COUNTS}"
        self._uid = request.sop_instance_uid
        self._bytes = self._crc = 0

    def write(self, fragments: Sequence[memoryview]) -> None:
        """Count."""
        for fragment in fragments:
            self._bytes += len(fragment)
            self._crc = zlib.crc32(fragment, self._crc)

    def finish(self) -> StoreReply:
        """Write the line."""
        with open(self._path, "a", encoding="ascii") as out:
            out.write(f"{self._uid} {self._bytes} {self._crc}\n")
        return StoreReply(0)

    def abandon(self) -> None:
        """Half a data set is none."""


class FileService:
    """Accepts the first transfer syntax of every context, and a window of asynchronous operations."""

    def __init__(self, directory: str, sink: Callable[[str, CStoreRequest, str], StoreSink]) -> None:
        self._directory = directory
        self._sink = sink

    def admit(self, peer_address: str, open_associations: int) -> Admission:  # noqa: ARG002 - the port's signature
        """Everybody."""
        return Admission.KNOWN

    def negotiate(self, request: AssociateRequest, peer: PeerConnection) -> Acceptance:  # noqa: ARG002
        """Everything."""
        asked = request.user_information.asynchronous_operations
        return Acceptance(
            [
                ContextDecision(each.context_id, ContextResult.ACCEPTANCE, each.transfer_syntaxes[0])
                for each in request.contexts
            ],
            window=None
            if asked is None
            else AsynchronousOperations(min(asked.invoked or MAX_WINDOW, MAX_WINDOW), 1),
        )

    def opened(self, association: AssociationInfo) -> None:
        """Nothing to do."""

    def begin_store(
        self,
        association: AssociationInfo,  # noqa: ARG002
        request: CStoreRequest,
        transfer_syntax_uid: str,
    ) -> StoreSink | StoreReply:
        """A sink of its own; what is no UID becomes no name."""
        if not is_tolerable_uid(request.sop_instance_uid):
            return StoreReply(0x0117)
        return self._sink(self._directory, request, transfer_syntax_uid)

    def closed(self, association: AssociationInfo, ending: AssociationEnding) -> None:
        """Nothing to do."""

    def turned_away(self, peer_address: str, reason: str) -> None:
        """Nothing to do."""


def _file_head(request: CStoreRequest, transfer_syntax_uid: str) -> bytes:
    meta = b"\2\0\1\0OB\0\0\2\0\0\0\0\1"
    for number, uid in (
        (2, request.sop_class_uid),
        (3, request.sop_instance_uid),
        (0x10, transfer_syntax_uid),
    ):
        value = uid.encode() + b"\0" * (len(uid) & 1)
        meta += struct.pack("<HH2sH", 2, number, b"UI", len(value)) + value
    return bytes(128) + b"DICM\2\0\0\0UL\4\0" + struct.pack("<I", len(meta)) + meta


def main() -> None:
    """Serve for ever."""
    sink = CountingSink if "count" in sys.argv[3:] else FileSink
    listener = listen("127.0.0.1", int(sys.argv[1]))
    Acceptor(listener, FileService(sys.argv[2], sink), AcceptorLimits()).serve()


if __name__ == "__main__":
    main()
