"""A destination that takes its time: every C-STORE is answered so many milliseconds after its data set was complete.

Usage: python -m benchmarks.slow_receiver PORT DIRECTORY MILLISECONDS

Our acceptor, a thread for each association, and no window of asynchronous operations, as DCMTK has none. Nothing is kept: each
answer becomes one line of answers.txt: SOP Instance UID, bytes of the data set, and when, in seconds of the monotonic clock.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from time import monotonic, sleep

from benchmarks.our_receiver import FileService
from dicomrelay.dimse.messages import CStoreRequest
from dicomrelay.net.acceptor import Acceptor, listen
from dicomrelay.net.limits import AcceptorLimits
from dicomrelay.net.service import Acceptance, PeerConnection, StoreReply
from dicomrelay.ul.pdu import AssociateRequest

ANSWERS = "answers.txt"


class SlowSink:
    """Counts bytes, and answers late."""

    def __init__(
        self,
        delay_s: float,
        directory: str,
        request: CStoreRequest,
        transfer_syntax_uid: str,  # noqa: ARG002 - what every sink is given
    ) -> None:
        self._delay_s = delay_s
        self._path = f"{directory}/{ANSWERS}"
        self._uid = request.sop_instance_uid
        self._bytes = 0

    def write(self, fragments: Sequence[memoryview]) -> None:
        """Count."""
        self._bytes += sum(map(len, fragments))

    def finish(self) -> StoreReply:
        """Wait, and write the line."""
        sleep(self._delay_s)
        with open(self._path, "a", encoding="ascii") as out:
            out.write(f"{self._uid} {self._bytes} {monotonic()}\n")
        return StoreReply(0)

    def abandon(self) -> None:
        """Half a data set is none."""


class SlowService(FileService):
    """One operation at a time."""

    def negotiate(self, request: AssociateRequest, peer: PeerConnection) -> Acceptance:
        """Everything but a window."""
        return replace(super().negotiate(request, peer), window=None)


def main() -> None:
    """Serve for ever."""
    listener = listen("127.0.0.1", int(sys.argv[1]))
    service = SlowService(sys.argv[2], partial(SlowSink, int(sys.argv[3]) / 1000))
    Acceptor(listener, service, AcceptorLimits()).serve()


if __name__ == "__main__":
    main()
