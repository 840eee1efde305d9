"""Retrieving from a gateway of ours: a scene with an archive and a destination, and our own requestors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.dataset import Dataset

from dicomrelay.dicom.query_models import STUDY_ROOT, QueryModel
from dicomrelay.dimse.identifier_buffer import IDENTIFIER_TRANSFER_SYNTAXES
from dicomrelay.dimse.messages import CStoreRequest
from dicomrelay.net.operation import Conclusion, Counts
from dicomrelay.net.query_retrieve import Get, Move
from dicomrelay.net.requestor import Association, RemoteAe
from dicomrelay.net.service import StoreReply
from dicomrelay.ul.pdu import RoleSelection
from tests.support.engine import MemoryService, running_acceptor
from tests.support.engine import Running as Sink
from tests.support.gateway import Running, running
from tests.support.queries import CT, EXPLICIT, MR, US, fill_archive, write_studies

IMPLICIT = "1.2.840.10008.1.2"
NEVER: Callable[[], bool] = lambda: False  # noqa: E731


@dataclass
class Scene:
    """A gateway over an archive, and one destination, SINK."""

    folder: Path
    files: Sequence[Path]
    gateway: Running
    sink: Sink

    @property
    def remote(self) -> RemoteAe:
        return self.gateway.remote

    def stored(self) -> list[str]:
        """SOP Instance UIDs that came to the destination, in order; they are forgotten."""
        found = [each.request.sop_instance_uid for each in self.sink.service.stored]
        self.sink.service.stored.clear()
        return found


@contextmanager
def retrieving(
    folder: Path,
    *,
    peers: Sequence[object] = (),
    sections: dict[str, object] | None = None,
    **destination: object,
) -> Iterator[Scene]:
    """A scene with the studies of `tests.support.queries`."""
    files = write_studies(folder / "in")
    fill_archive(folder / "home" / "archive", files)
    with running_acceptor(MemoryService()) as sink:
        pacs = {"name": "sink", "ae_title": "SINK", "host": "127.0.0.1", "port": sink.port, **destination}
        more = {"destinations": [pacs], **(sections or {})}
        with running(folder / "home", peers=peers, sections=more) as gateway:
            yield Scene(folder, files, gateway, sink)


def identifier(level: str, **keys: object) -> Dataset:
    """An identifier with these keys."""
    found = Dataset()
    found.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(found, keyword, value)
    return found


@dataclass
class Retrieved:
    """What a C-MOVE or C-GET came to."""

    conclusion: Conclusion
    counts: list[Counts] = field(default_factory=list)
    data_sets: dict[str, bytes] = field(default_factory=dict)

    @property
    def status(self) -> int:
        return self.conclusion.status

    @property
    def totals(self) -> tuple[int | None, ...]:
        """Completed, failed, warning of the last response."""
        counts = self.conclusion.counts
        return counts.completed, counts.failed, counts.warning


def move(
    remote: RemoteAe,
    keys: Dataset,
    destination: str = "SINK",
    *,
    model: QueryModel = STUDY_ROOT,
    syntaxes: Sequence[str] = IDENTIFIER_TRANSFER_SYNTAXES,
    stop: Callable[[], bool] = NEVER,
) -> Retrieved:
    """A C-MOVE of ours."""
    contexts = [(model.move, syntaxes)]
    with Association.request(remote, calling_ae_title="ASKER", contexts=contexts) as association:
        operation = Move(association, model, keys, destination, stop=stop)
        counts = list(operation)
        assert operation.conclusion is not None
        return Retrieved(operation.conclusion, counts)


class Keeper:
    """Takes what a C-GET brings into memory."""

    def __init__(self, reply: Callable[[str], StoreReply]) -> None:
        self._reply = reply
        self.data_sets: dict[str, bytes] = {}
        self.syntaxes: dict[str, str] = {}
        self._uid = ""
        self._data = bytearray()

    def begin_store(self, request: CStoreRequest, transfer_syntax_uid: str) -> Keeper:
        self._uid, self._data = request.sop_instance_uid, bytearray()
        self.syntaxes[self._uid] = transfer_syntax_uid
        return self

    def write(self, fragments: Sequence[memoryview]) -> None:
        for fragment in fragments:
            self._data += fragment

    def finish(self) -> StoreReply:
        self.data_sets[self._uid] = bytes(self._data)
        return self._reply(self._uid)

    def abandon(self) -> None:
        self._data.clear()


def get(
    remote: RemoteAe,
    keys: Dataset,
    *,
    model: QueryModel = STUDY_ROOT,
    storage: Sequence[tuple[str, Sequence[str]]] = ((CT, (EXPLICIT,)), (MR, (EXPLICIT,)), (US, (EXPLICIT,))),
    reply: Callable[[str], StoreReply] = lambda _: StoreReply(0),
    limit: int | None = None,
) -> tuple[Retrieved, Keeper]:
    """A C-GET of ours."""
    contexts = [(model.get, IDENTIFIER_TRANSFER_SYNTAXES), *storage]
    roles = [RoleSelection(uid, scu=False, scp=True) for uid in dict.fromkeys(uid for uid, _ in storage)]
    keeper = Keeper(reply)
    with Association.request(remote, calling_ae_title="ASKER", contexts=contexts, roles=roles) as association:
        operation = Get(association, model, keys, keeper, limit=limit)
        counts = list(operation)
        assert operation.conclusion is not None
        return Retrieved(operation.conclusion, counts, keeper.data_sets), keeper
