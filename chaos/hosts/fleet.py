"""Nine hosts: two gateways, two workers, broker, database, S3, two destinations; and senders on this machine."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from obstore.store import S3Store

from chaos.campaign import spooled
from chaos.destination import Behaviour
from chaos.destination_process import DestinationProcess
from chaos.hosts.host import Host, Network
from chaos.hosts.servers import (
    ACCESS_KEY,
    BUCKET,
    PASSWORD,
    S3,
    SECRET_KEY,
    Authority,
    Broker,
    Postgresql,
    RabbitMq,
    Redis,
)
from chaos.oracle import Account, Copy, Findings, judge
from chaos.senders import EngineSender, Load, Sender, Tally
from dicomrelay.dicom.part10 import parse_file_meta
from dicomrelay.net.requestor import RemoteAe

BROKERS: Final[dict[str, type[Broker]]] = {"redis": Redis, "rabbitmq": RabbitMq}
_AE_TITLE: Final = "DICOMRELAY"
_PORT: Final = 11112
_LOAD: Final = Load(per_association=10, pause_s=0.8, per_study=10)
_ON_THEIR_WAY: Final = 60
_MORE: Final = 60
_READY_WITHIN_S: Final = 100.0
_HEAD_BYTES: Final = 65_536
ARCHIVE: Final = "archive"
GATEWAY: Final = {
    "gateway": ("gateway",),
    "intake": ("worker", "--name", "intake", "--queues", "group,archive,maintenance", "--processes", "1"),
    "scheduler": ("scheduler",),
}
_FORWARD: Final = "forward.urgent,forward.normal,forward.bulk"


def worker_parts(places: int, *, frames: bool = True) -> dict[str, tuple[str, ...]]:
    """What runs on a worker host that forwards so many transfers at once."""
    forward = ("worker", "--name", "forward", "--queues", _FORWARD, "--processes", str(places))
    of_frames = ("worker", "--name", "frames", "--queues", "frames", "--processes", "1")
    return {"forward": forward, **({"frames": of_frames} if frames else {})}


@dataclass
class Member:
    """A host with parts of the relay on it."""

    host: Host
    parts: dict[str, tuple[str, ...]]

    def start(self) -> None:
        """Begin every part that does not run."""
        for label, words in self.parts.items():
            if not self.host.is_running(label):
                self.host.run(label, [sys.executable, "-m", "dicomrelay", *words, "--home", str(self.home)])

    @property
    def home(self) -> Path:
        """Its home."""
        return self.host.folder / "home"

    def is_ready(self) -> bool:
        """Whether every part has said so in its log; of a scheduler nothing is asked."""
        words = {"gateway": "listening", "scheduler": ""}
        return all(words.get(label, "taking work") in self.host.log(label) for label in self.parts)


@dataclass
class Fleet:
    """All of it, while it runs."""

    network: Network
    broker: Broker
    database: Postgresql
    storage: S3
    gateways: list[Member]
    workers: list[Member]
    destinations: list[tuple[Host, DestinationProcess]]
    senders: list[Sender] = field(default_factory=list)
    tallies: list[Tally] = field(default_factory=list)
    stop_sending: threading.Event = field(default_factory=threading.Event)
    _past: set[str] = field(default_factory=set)
    _more: int = 0
    _read_objects: dict[str, Copy] = field(default_factory=dict)

    @property
    def members(self) -> list[Member]:
        """The hosts with parts of the relay."""
        return [*self.gateways, *self.workers]

    def send(self, folder: Path, seed: int, *, load: Load = _LOAD) -> None:
        """A sender for each gateway begins, and goes on until `finish`."""
        for number, member in enumerate(self.gateways):
            remote = RemoteAe(_AE_TITLE, member.host.address, _PORT)
            sender = EngineSender(
                remote,
                folder / f"files-{seed}-{number}",
                seed * 100 + number,
                self.stop_sending,
                window=4,
                load=load,
            )
            self.senders.append(sender)
            sender.start()
        threading.Thread(target=self._regulate, daemon=True).start()

    @contextmanager
    def more_room(self) -> Iterator[None]:
        """Let more be on its way: what stands still is not to keep senders from what gateways take all the same."""
        self._more = _MORE
        try:
            yield
        finally:
            self._more = 0

    def stop(self) -> None:
        """No sender begins anything more."""
        self.stop_sending.set()

    def _regulate(self) -> None:
        """Let the senders rest while too much is on its way: the relay is busy and not overloaded."""
        stop, senders = self.stop_sending, list(self.senders)
        while not stop.wait(0.1):
            there = [self._read(process) for _, process in self.destinations]
            for sender in senders:
                asked = set(sender.tally.acknowledged)
                ahead = max(len(asked - uids) for uids in there)
                (sender.rest.set if ahead > _ON_THEIR_WAY + self._more else sender.rest.clear)()

    @staticmethod
    def _read(process: DestinationProcess) -> set[str]:
        process.read()
        return set(process.uids)

    def acknowledged(self) -> set[str]:
        """SOP Instance UIDs that were, so far."""
        return {uid for tally in self._all_tallies() for uid in list(tally.acknowledged)}

    def _all_tallies(self) -> list[Tally]:
        return [*(sender.tally for sender in self.senders), *self.tallies]

    def delivered(self) -> int:
        """What every destination has, so far."""
        return min(len(self._read(process)) for _, process in self.destinations)

    def missing(self, asked: set[str]) -> int:
        """Deliveries of these that no destination has noted."""
        return sum(len(asked - self._read(process)) for _, process in self.destinations)

    def catch_up(self, *, within_s: float) -> float:
        """Wait until what is acknowledged now is at every destination: the seconds, inf when it is not in time."""
        began, asked = time.monotonic(), self.acknowledged()
        while self.missing(asked):
            if time.monotonic() - began > within_s:
                return float("inf")
            time.sleep(0.1)
        return time.monotonic() - began

    def flows(self, *, within_s: float = 90) -> float:
        """Wait until something that is acknowledged from now on is everywhere: the seconds."""
        before = self.acknowledged()
        began = time.monotonic()
        while not any(not self.missing({uid}) for uid in self.acknowledged() - before):
            if time.monotonic() - began > within_s:
                return float("inf")
            time.sleep(0.1)
        return time.monotonic() - began

    def finish(self, *, within_s: float) -> tuple[Account, float]:
        """Stop the senders, wait until all is everywhere and archived, and ask the oracle of what came since the last time."""
        self.stop_sending.set()
        for sender in self.senders:
            sender.join(60)
        began = time.monotonic()
        self.catch_up(within_s=within_s)
        asked = self.acknowledged()
        while asked - self.archived_uids():
            if time.monotonic() - began > within_s:
                break
            time.sleep(1)
        seconds = time.monotonic() - began
        account = judge(self._findings())
        self._past.update(uid for tally in self._all_tallies() for uid in tally.offered)
        self.senders.clear()
        self.tallies.clear()
        self.stop_sending = threading.Event()
        return account, seconds

    def archived_uids(self) -> set[str]:
        """SOP Instance UIDs of what is in the bucket, by the names of the objects."""
        return {Path(path).stem for path in self._objects()}

    def archived(self) -> list[Copy]:
        """Every data set in the bucket, each read and hashed once."""
        for path in self._objects() - self._read_objects.keys():
            raw = bytes(self._bucket().get(path).bytes())
            meta = parse_file_meta(raw[:_HEAD_BYTES])
            digest = hashlib.sha256(raw[meta.data_set_offset :]).hexdigest()
            self._read_objects[path] = Copy(meta.sop_instance_uid, digest)
        return list(self._read_objects.values())

    def _objects(self) -> set[str]:
        return {entry["path"] for page in self._bucket().list(prefix="relay/data") for entry in page}

    def _bucket(self) -> S3Store:
        return S3Store(
            BUCKET,
            endpoint=self.storage.endpoint,
            access_key_id=ACCESS_KEY,
            secret_access_key=SECRET_KEY,
            region="us-east-1",
            virtual_hosted_style_request=False,
            client_options={"allow_http": True},
        )

    def _findings(self) -> Findings:
        tallies = self._all_tallies()
        listed: dict[str, set[str]] = {}
        for row in self.status()["needs_attention"]:
            listed.setdefault(row["destination"] or ARCHIVE, set()).add(row["sop_instance_uid"])
        in_spools = [spooled(member.home) for member in self.gateways]
        arrived = {process.name: [each.copy for each in process.arrivals] for _, process in self.destinations}
        arrived[ARCHIVE] = self.archived()
        return Findings(
            offered={uid: digest for tally in tallies for uid, digest in tally.offered.items()},
            acknowledged=self.acknowledged(),
            arrived={name: self._fresh(copies) for name, copies in arrived.items()},
            held=self._fresh([copy for copies, _ in in_spools for copy in copies]),
            listed=listed,
            put_away=sum(damaged for _, damaged in in_spools),
            refused=sum(tally.refused for tally in tallies),
        )

    def _fresh(self, copies: Sequence[Copy]) -> list[Copy]:
        """Without those of trials before."""
        return [copy for copy in copies if copy.sop_instance_uid not in self._past]

    def status(self) -> dict[str, Any]:
        """`dicomrelay status --json`, on the first gateway's host."""
        member = self.gateways[0]
        words = ["status", "--json", "--studies", "1", "--home", str(member.home)]
        asked = member.host.ask(sys.executable, "-m", "dicomrelay", *words, timeout_s=90)
        found: dict[str, Any] = json.loads(asked.stdout)
        return found

    def wait_for(self, condition: Callable[[], bool], *, within_s: float, what: str) -> float:
        """Look until it is so: the seconds. Raises TimeoutError with what every part said last."""
        began = time.monotonic()
        while not condition():
            if time.monotonic() - began > within_s:
                said = "\n".join(
                    f"--- {member.host.name} {label}: {member.host.log(label)[-1500:]}"
                    for member in self.members
                    for label in member.parts
                )
                raise TimeoutError(f"not within {within_s:g} s: {what}\n{said}")
            time.sleep(0.1)
        return time.monotonic() - began


@contextmanager
def fleet(
    folder: Path,
    *,
    broker: str = "redis",
    gateways: int = 2,
    workers: int = 2,
    destinations: Sequence[str] = ("north", "south"),
    places: int = 8,
    frames: bool = True,
    delay_s: float = 0.0,
    more: str = "",
    destination: str = "",
) -> Iterator[Fleet]:
    """Everything runs and is ready; whatever still runs at the end is killed.

    Parameters
    ----------
    folder : Path
        Empty, and others may look into it: the database's user has to.
    broker : str
        A key of `BROKERS`.
    places : int
        Transfers at once on each worker host.
    delay_s : float
        What each destination waits before each answer.
    more, destination : str
        Further tables of relay.toml, and further keys of each destination.
    """
    folder.chmod(0o755)
    authority = Authority(folder / "certificates")
    (folder / "password").write_text(f"{PASSWORD}\n", "utf-8")
    with ExitStack() as stack:
        network = stack.enter_context(Network())

        def host(name: str) -> Host:
            made = Host(network, name, folder / "hosts")
            stack.callback(made.close)
            made.start()
            return made

        served = BROKERS[broker](host("broker"), authority)
        database, storage = Postgresql(host("database"), authority), S3(host("storage"), authority)
        for server in (served, database, storage):
            server.launch()
        there = []
        for name in destinations:
            at = host(name)
            process = DestinationProcess(name, at.folder, host=at.address, prefix=at.prefix, more=destination)
            stack.callback(process.stop)
            process.start()
            process.behave(Behaviour(delay_s=delay_s))
            there.append((at, process))
        for server in (served, database, storage):
            server.await_ready()
        toml = more + "".join(process.toml() for _, process in there)
        text = _settings(folder, network, served, database, storage) + toml
        members = [
            *(Member(host(f"gateway-{number}"), dict(GATEWAY)) for number in range(1, gateways + 1)),
            *(
                Member(host(f"worker-{number}"), worker_parts(places, frames=frames))
                for number in range(1, workers + 1)
            ),
        ]
        for member in members:
            member.home.mkdir(mode=0o700)
            (member.home / "relay.toml").write_text(text, "utf-8")
            member.start()
        running = Fleet(network, served, database, storage, members[:gateways], members[gateways:], there)
        stack.callback(running.stop)
        running.wait_for(
            lambda: all(member.is_ready() for member in members),
            within_s=_READY_WITHIN_S,
            what="every part is ready",
        )
        yield running


def _settings(folder: Path, network: Network, broker: Broker, database: Postgresql, storage: S3) -> str:
    tls = f'tls = {{ ca = "{folder}/certificates/ca.pem" }}\npassword_file = "{folder}/password"\n'
    return (
        f'[gateway]\nae_title = "{_AE_TITLE}"\nhost = "0.0.0.0"\nport = {_PORT}\nmin_free_bytes = 0\n'
        f'[[peers]]\nae_title = "*"\nhost = "{network.range}"\n'
        f'[broker]\nurl = "{broker.url}"\n{tls}[database]\nurl = "{database.url}"\n{tls}'
        f'[archive]\nurl = "s3://{BUCKET}/relay"\nendpoint = "{storage.endpoint}"\ntimeout_s = 5\n'
        f'access_key_id = "{ACCESS_KEY}"\nsecret_access_key = "{SECRET_KEY}"\n'
        "[study]\nquiet_seconds = 0.5\n[worker]\nsweep_seconds = 0.5\n"
    )
