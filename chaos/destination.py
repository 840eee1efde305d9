"""A destination as a process of its own: hashes what it gets, notes it, answers; or misbehaves as it is told.

    python -m chaos.destination PORT JOURNAL

Each line on its standard input is a `Behaviour` as JSON, in force from the next association on. The journal has a line
`i TIME UID SHA256 ASSOCIATION` for each whole data set, written before its answer, `a TIME ASSOCIATION` when a peer has
connected, `x TIME ASSOCIATION` when it is ended on purpose, and `e TIME ASSOCIATION BYTES` when it is gone. Times are of the
monotonic clock, which all processes share.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dicomrelay.dimse.codec import encode_message
from dicomrelay.dimse.fragments import CommandReceived, MessageAssembler
from dicomrelay.dimse.messages import CEchoRequest, CEchoResponse, CStoreRequest, CStoreResponse, Message
from dicomrelay.errors import ProtocolError
from dicomrelay.ul.pdu import (
    Abort,
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
    ContextDecision,
    PDataTf,
    Pdu,
    Pdv,
    ReleaseRequest,
    ReleaseResponse,
    UserInformation,
)
from dicomrelay.ul.reader import DECODERS
from dicomrelay.ul.writer import encode

_MAX_PDU_BYTES: Final = 131_072
_LONGEST_PDU_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What it does. As it stands: everything right.

    Attributes
    ----------
    delay_s : float
        Wait before each answer to a C-STORE.
    statuses : sequence of int
        Answers to C-STORE requests, in turn; by SOP Instance UID in `status_of` where that names it.
    reject : (int, int, int), optional
        Result, source and reason of an A-ASSOCIATE-RJ in answer to every request.
    refuse_contexts : int
        The result of every presentation context; 0 accepts.
    end_at : int
        The C-STORE of an association, counted from 1, whose answer does not come: `end_by` comes in its place.
    end_by : str
        "abort", "reset", "close" or "silence".
    end_after_bytes : int
        Reset once so many bytes have come over an association; 0 for never.
    silent : bool
        Never say anything, not even to a request for an association.
    times : int
        How many associations behave so before all is right again; 0 for all.
    over_all : bool
        `end_at` and `end_after_bytes` count over all associations together, and what they say happens once.
    """

    delay_s: float = 0.0
    statuses: Sequence[int] = (0,)
    status_of: Mapping[str, int] = field(default_factory=dict)
    reject: tuple[int, int, int] | None = None
    refuse_contexts: int = 0
    end_at: int = 0
    end_by: str = "abort"
    end_after_bytes: int = 0
    silent: bool = False
    times: int = 0
    over_all: bool = False


class _Count:
    """Stores and bytes, of one association or of all; the same lock for both."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.stores = 0
        self.bytes = 0

    def one_more_store(self) -> int:
        """Which one it is."""
        with self._lock:
            self.stores += 1
            return self.stores

    def add_bytes(self, count: int) -> int:
        """How many there were before these."""
        with self._lock:
            self.bytes += count
            return self.bytes - count


class _Ended(Exception):
    """The association is over, as it was to be."""


class Destination:
    """Accepts, hashes and notes.

    Parameters
    ----------
    journal : int
        A descriptor that is appended to.
    """

    def __init__(self, listener: socket.socket, journal: int) -> None:
        self._listener = listener
        self._journal = journal
        self._behaviour = Behaviour()
        self._count = _Count()
        self._left = 0
        self._turn = itertools.count()
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def behave(self, behaviour: Behaviour) -> None:
        """From now on."""
        with self._lock:
            self._behaviour, self._left = behaviour, behaviour.times
            self._count = _Count()
            self._turn = itertools.count()

    def serve(self) -> None:
        """Until the process ends."""
        while True:
            sock, _ = self._listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve_one, args=(sock, next(self._numbers)), daemon=True).start()

    def note(self, *words: object) -> None:
        """One line."""
        os.write(self._journal, (" ".join(map(str, words)) + "\n").encode())

    def answer_to(self, request: CStoreRequest) -> int:
        """The status that is its turn."""
        now = self._behaviour
        if request.sop_instance_uid in now.status_of:
            return now.status_of[request.sop_instance_uid]
        return now.statuses[next(self._turn) % len(now.statuses)]

    def _for_next_association(self) -> Behaviour:
        with self._lock:
            behaviour = self._behaviour
            if behaviour.times:
                if not self._left:
                    return Behaviour()
                self._left -= 1
            return behaviour

    def _serve_one(self, sock: socket.socket, number: int) -> None:
        self.note("a", time.monotonic(), number)
        behaviour = self._for_next_association()
        count = self._count if behaviour.over_all else _Count()
        association = _Association(sock, number, self, behaviour, count)
        with sock, suppress(OSError, _Ended, ProtocolError):
            association.run()
        self.note("e", time.monotonic(), number, association.received)


class _Association:
    def __init__(
        self, sock: socket.socket, number: int, owner: Destination, behaviour: Behaviour, count: _Count
    ) -> None:
        self._sock = sock
        self._count = count
        self._number = number
        self._owner = owner
        self._behaviour = behaviour
        self.received = 0

    def run(self) -> None:
        """To its end."""
        if self._behaviour.silent:
            self._end("silence")
        request = self._pdu()
        if not isinstance(request, AssociateRequest):
            return
        if self._behaviour.reject:
            self._sock.sendall(encode(AssociateReject(*self._behaviour.reject)))
            self._end("silence")
        result = self._behaviour.refuse_contexts
        decisions = tuple(
            ContextDecision(each.context_id, result, "" if result else each.transfer_syntaxes[0])
            for each in request.contexts
        )
        titles = request.called_ae_title, request.calling_ae_title, request.application_context
        answer = AssociateAccept(*titles, decisions, UserInformation(_MAX_PDU_BYTES, "1.2.3", "CHAOS"))
        self._sock.sendall(encode(answer))
        self._receive(MessageAssembler([each.context_id for each in decisions]))

    def _receive(self, assembler: MessageAssembler) -> None:
        pending: CStoreRequest | None = None
        digest = hashlib.sha256()
        while (pdu := self._pdu()) is not None:
            if isinstance(pdu, ReleaseRequest):
                self._sock.sendall(encode(ReleaseResponse()))
                return
            if not isinstance(pdu, PDataTf):
                return
            for part in assembler.feed(pdu.pdvs):
                if isinstance(part, CommandReceived):
                    if isinstance(part.message, CStoreRequest):
                        pending, digest = part.message, hashlib.sha256()
                    elif isinstance(part.message, CEchoRequest):
                        echo = CEchoResponse(part.message.message_id, 0, part.message.sop_class_uid)
                        self._say(part.context_id, echo)
                    continue
                for fragment in part.fragments:
                    digest.update(fragment)
                if part.is_complete and pending is not None:
                    self._stored(part.context_id, pending, digest.hexdigest())

    def _stored(self, context_id: int, request: CStoreRequest, digest: str) -> None:
        uid = request.sop_instance_uid
        self._owner.note("i", time.monotonic(), uid, digest, self._number)
        if self._count.one_more_store() == self._behaviour.end_at:
            self._end(self._behaviour.end_by)
        if self._behaviour.delay_s:
            time.sleep(self._behaviour.delay_s)
        status = self._owner.answer_to(request)
        self._say(context_id, CStoreResponse(request.message_id, status, request.sop_class_uid, uid))

    def _say(self, context_id: int, message: Message) -> None:
        raw = encode_message(message, has_data_set=False)
        self._sock.sendall(encode(PDataTf((Pdv(context_id, True, True, raw),))))

    def _end(self, how: str) -> None:
        self._owner.note("x", time.monotonic(), self._number)
        if how == "abort":
            self._sock.sendall(encode(Abort(0, 0)))
        if how == "reset":
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif how != "close":
            while piece := self._sock.recv(65_536):
                self.received += len(piece)
        raise _Ended

    def _pdu(self) -> Pdu | None:
        header = self._exactly(6)
        length = int.from_bytes(header[2:6], "big")
        if len(header) < 6 or header[0] not in DECODERS or length > _LONGEST_PDU_BYTES:
            return None
        return DECODERS[header[0]](memoryview(self._exactly(length)))

    def _exactly(self, count: int) -> bytearray:
        found = bytearray(count)
        have, end = 0, self._behaviour.end_after_bytes
        while have < count:
            got = self._sock.recv_into(memoryview(found)[have:])
            if not got:
                raise _Ended
            have += got
            self.received += got
            before = self._count.add_bytes(got)
            if before < end <= before + got:
                self._end("reset")
        return found


def main(port: int, journal: Path) -> None:
    """Serve, and listen to what is to be done; the end of the standard input is the end."""
    descriptor = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    destination = Destination(socket.create_server(("", port), backlog=128), descriptor)
    threading.Thread(target=destination.serve, daemon=True).start()
    print("ready", flush=True)
    for line in sys.stdin:
        destination.behave(Behaviour(**json.loads(line)))
        print("done", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
