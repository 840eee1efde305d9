"""Helpers for the tests of the engine: a service that keeps what it gets, a running acceptor, data sets in files."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dicomrelay.delivery import Instance
from dicomrelay.delivery.contexts import Context, grouped
from dicomrelay.dimse.messages import CStoreRequest
from dicomrelay.net.acceptor import Acceptor, listen
from dicomrelay.net.limits import AcceptorLimits
from dicomrelay.net.requestor import RemoteAe, StoreItem
from dicomrelay.net.service import (
    Acceptance,
    Admission,
    AssociationEnding,
    AssociationInfo,
    PeerConnection,
    Rejection,
    StoreReply,
    StoreSink,
)
from dicomrelay.net.tls import TlsDoor
from dicomrelay.ul.pdu import AssociateRequest, ContextDecision, ContextResult

CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"

QUICK = AcceptorLimits(association_timeout_s=2, pdu_timeout_s=2, idle_timeout_s=5, linger_s=0.5)


@dataclass
class Stored:
    """One data set that came."""

    request: CStoreRequest
    transfer_syntax_uid: str
    data_set: bytes


class MemorySink:
    """Keeps the data set in memory and answers what it was told to."""

    def __init__(self, service: MemoryService, request: CStoreRequest, transfer_syntax_uid: str) -> None:
        self._service = service
        self._request = request
        self._syntax = transfer_syntax_uid
        self._data = bytearray()

    def write(self, fragments: Sequence[memoryview]) -> None:
        if self._service.on_write is not None:
            self._service.on_write()
        for fragment in fragments:
            self._data += fragment

    def finish(self) -> StoreReply:
        if self._service.on_finish is not None:
            self._service.on_finish()
        self._service.stored.append(Stored(self._request, self._syntax, bytes(self._data)))
        return self._service.reply

    def abandon(self) -> None:
        self._service.abandoned.append(self._request.sop_instance_uid)


@dataclass
class MemoryService:
    """An AssociationService that accepts the first transfer syntax of every context and keeps everything."""

    reply: StoreReply = field(default_factory=lambda: StoreReply(0))
    rejection: Rejection | None = None
    admits: Admission = Admission.KNOWN
    answer: Callable[[AssociateRequest, list[ContextDecision]], Acceptance] | None = None
    on_begin: Callable[[], StoreReply | None] | None = None
    on_write: Callable[[], None] | None = None
    on_finish: Callable[[], None] | None = None
    stored: list[Stored] = field(default_factory=list)
    abandoned: list[str] = field(default_factory=list)
    requests: list[AssociateRequest] = field(default_factory=list)
    infos: list[AssociationInfo] = field(default_factory=list)
    endings: list[AssociationEnding] = field(default_factory=list)
    turned: list[tuple[str, str]] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def admit(self, peer_address: str, open_associations: int) -> Admission:
        return self.admits

    def negotiate(self, request: AssociateRequest, peer: PeerConnection) -> Rejection | Acceptance:
        self.requests.append(request)
        if self.rejection is not None:
            return self.rejection
        decisions = [
            ContextDecision(each.context_id, ContextResult.ACCEPTANCE, each.transfer_syntaxes[0])
            for each in request.contexts
        ]
        return self.answer(request, decisions) if self.answer is not None else Acceptance(decisions)

    def opened(self, association: AssociationInfo) -> None:
        self.infos.append(association)

    def begin_store(
        self, association: AssociationInfo, request: CStoreRequest, transfer_syntax_uid: str
    ) -> StoreSink | StoreReply:
        refusal = self.on_begin() if self.on_begin is not None else None
        return refusal or MemorySink(self, request, transfer_syntax_uid)

    def turned_away(self, peer_address: str, reason: str) -> None:
        self.turned.append((peer_address, reason))

    def closed(self, association: AssociationInfo, ending: AssociationEnding) -> None:
        with self.changed:
            self.endings.append(ending)
            self.changed.notify_all()

    def wait_ending(self, count: int = 1, timeout_s: float = 10.0) -> AssociationEnding:
        """The `count`-th ending, waiting for it."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.endings) >= count, timeout_s), (
                "no association ended"
            )
            return self.endings[count - 1]


@dataclass
class Running:
    """An acceptor that serves on a port of its own."""

    acceptor: Acceptor
    service: MemoryService
    port: int
    thread: threading.Thread

    @property
    def remote(self) -> RemoteAe:
        return RemoteAe("RELAY", "127.0.0.1", self.port)

    def connect(self) -> socket.socket:
        """A plain TCP connection to it."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)


@contextmanager
def running_acceptor(
    service: MemoryService | None = None,
    limits: AcceptorLimits = QUICK,
    *,
    grace_s: float = 0.0,
    tls: TlsDoor | None = None,
) -> Iterator[Running]:
    """An acceptor in a thread; stopped at the end, and no thread of it may be left."""
    service = service or MemoryService()
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    acceptor = Acceptor(listener, service, limits, tls)
    thread = threading.Thread(target=acceptor.serve, daemon=True)
    thread.start()
    try:
        yield Running(acceptor, service, port, thread)
    finally:
        acceptor.stop(grace_s)
        thread.join(10)
        assert not thread.is_alive()
        assert acceptor.open_associations == 0


def store_item(path: Path, data_set: bytes, uid: str = "1.2.3.4", *, offset: int = 0) -> StoreItem:
    """A file with `data_set` behind `offset` bytes of something else, as something to send."""
    path.write_bytes(bytes(offset) + data_set)
    return StoreItem(CT_IMAGE_STORAGE, uid, EXPLICIT_VR_LITTLE_ENDIAN, path, offset, len(data_set))


def contexts_for(items: Iterable[StoreItem]) -> list[list[Context]]:
    """What is proposed for these instances, a list for each association that they need."""
    return [contexts for contexts, _ in grouped([Instance(str(n), item) for n, item in enumerate(items)])]
