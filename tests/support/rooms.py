"""The workers' rooms on a real spool, ledger and archive, with a queue that only notes what it is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from pydantic import SecretStr

from archive import Archive
from archive.root import mark_as_of_a_relay
from archive.storage.opening import open_storage
from dicomrelay.dicom.scan import Header
from dicomrelay.errors import ServiceUnavailable
from dicomrelay.ledger import Ledger
from dicomrelay.ledger.migrate import migrate
from dicomrelay.routing import configured
from dicomrelay.runtime import home
from dicomrelay.runtime.queue import Queue, Task, WakeUps
from dicomrelay.settings import BrokerSettings, DatabaseSettings, load
from dicomrelay.spool import Provenance, Spool, SpoolRecord
from workers.rooms import Rooms

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"


@dataclass
class NotedWakeUps:
    """A queue without a broker: what was said, and how deep each queue is told to be."""

    said: list[tuple[Task, tuple[str, ...]]] = field(default_factory=list)
    said_here: list[tuple[Task, tuple[str, ...]]] = field(default_factory=list)
    depth: dict[Queue, int] = field(default_factory=dict)
    broken: bool = False
    spoke: threading.Event = field(default_factory=threading.Event)

    def send(
        self, task: Task, *, ids: Sequence[str] = (), queue: Queue | None = None, here: bool = False
    ) -> None:
        if self.broken:
            raise ServiceUnavailable("the broker does not answer (test)")
        (self.said_here if here else self.said).append((task, tuple(ids)))
        self.spoke.set()

    def depths(self, queues: Sequence[Queue] = tuple(Queue)) -> dict[Queue, int]:
        if self.broken:
            raise ServiceUnavailable("the broker does not answer (test)")
        return {queue: self.depth.get(queue, 0) for queue in queues}

    def depth_here(self) -> int:
        return len(self.said_here)

    def close(self) -> None:
        return None


@contextmanager
def rooms_at(folder: Path, toml: str = "") -> Iterator[tuple[Rooms, NotedWakeUps]]:
    """Rooms in a home of their own, where a study is complete at once."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "relay.toml").write_text(
        "[study]\nquiet_seconds = 0\n[gateway]\nmin_free_bytes = 0\n" + toml, "utf-8"
    )
    settings = load(home=folder)
    home.prepare(settings)
    migrate(home.ledger_url(settings))
    wake_ups = NotedWakeUps()
    rooms = Rooms(
        settings=settings,
        ledger=Ledger.open(home.ledger_url(settings)),
        spool=Spool(settings.path("spool")),
        archive=Archive.open(
            settings.archive_path, storage=open_storage(settings.archive, settings.archive_path)
        ),
        wake_ups=cast("WakeUps", wake_ups),
        host=home.spool_name(settings),
    )
    mark_as_of_a_relay(settings.archive_path)
    rooms.ledger.sync_destinations(configured(settings.destinations))
    try:
        yield rooms, wake_ups
    finally:
        rooms.close()
        rooms.spool.close()


def as_if_shared(rooms: Rooms) -> Rooms:
    """The same rooms with settings that name database and broker of several hosts; ledger and queue stay as they are."""
    several = {
        "database": DatabaseSettings(url=SecretStr("postgresql://relay@db.example/relay")),
        "broker": BrokerSettings(url=SecretStr("redis://broker.example/0")),
    }
    return replace(rooms, settings=rooms.settings.model_copy(update=several))


def data_set(uid: str, study: str = "1.2.3") -> bytes:
    """The smallest explicit VR little endian data set that is an instance of a study."""

    def element(tag: tuple[int, int], text: str) -> bytes:
        value = text.encode() + b"\0" * (len(text) % 2)
        group, number = (part.to_bytes(2, "little") for part in tag)
        return group + number + b"UI" + len(value).to_bytes(2, "little") + value

    return (
        element((0x0008, 0x0016), CT)
        + element((0x0008, 0x0018), uid)
        + element((0x0020, 0x000D), study)
        + element((0x0020, 0x000E), f"{study}.1")
    )


def spooled(
    rooms: Rooms,
    uid: str,
    *,
    study: str = "1.2.3",
    job_id: str = "",
    send_to: tuple[str, ...] = (),
    first: bytes = b"",
    more: bytes = b"",
) -> SpoolRecord:
    """An instance, committed to the spool; `first` stands before its Study Instance UID, `more` at the end."""
    writer = rooms.spool.writer(
        sop_class_uid=CT,
        sop_instance_uid=uid,
        transfer_syntax_uid=EXPLICIT,
        provenance=Provenance("CT_1", "DICOMRELAY", "127.0.0.1", "a1", 1, job_id),
        send_to=send_to,
    )
    plain = data_set(uid, study)
    at = plain.index(b"\x20\x00\x0d\x00UI")
    writer.write([memoryview(plain[:at] + first + plain[at:] + more)])
    return writer.commit(Header(CT, uid, study, f"{study}.1", "CT"))


def transfers_of(rooms: Rooms) -> list[str]:
    """Ids of what is due, after the quiet studies were made into transfers."""
    rooms.ledger.complete_quiet_studies(quiet_ms=0, batch_instances=200, batch_bytes=10**9, limit=100)
    return [transfer.id for transfer in rooms.ledger.due(limit=100).transfers]
