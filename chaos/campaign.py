"""A relay under a steady load, with destinations around it: what every fault of a running system is done to."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from chaos.destination import Behaviour
from chaos.destination_process import Arrival, DestinationProcess
from chaos.oracle import Account, Copy, Findings, judge
from chaos.probe import Prober
from chaos.relay import Relay
from chaos.senders import EngineSender, Load, Sender, StorescuSender, Tally
from dicomrelay.dicom.part10 import parse_file_meta
from dicomrelay.errors import SpoolCorrupt
from dicomrelay.spool import Spool

ARCHIVE: Final = "archive"
_STEADY: Final = Load(per_association=20, pause_s=0.4, per_study=20)
_ON_THEIR_WAY: Final = 150
_LOOK_S: Final = 0.1
_DRAIN_S: Final = 120.0
_HEAD_BYTES: Final = 65_536


@dataclass
class Campaign:
    """What takes part.

    Attributes
    ----------
    tallies : list of Tally
        What was sent beside the senders; theirs are not among them.
    drained_in_s : float
        From the moment the senders stopped until everything acknowledged was everywhere; inf when it never was.
    """

    relay: Relay
    destinations: Sequence[DestinationProcess]
    senders: Sequence[Sender]
    stop_sending: threading.Event
    drained_in_s: float = 0.0
    needs_attention: list[dict[str, Any]] = field(default_factory=list)
    tallies: list[Tally] = field(default_factory=list)

    def acknowledged(self, *, before_s: float = float("inf")) -> set[str]:
        """SOP Instance UIDs that were acknowledged, up to a time of the monotonic clock."""
        return {
            uid
            for tally in self._all_tallies()
            for uid, at_s in list(tally.acknowledged_at.items())
            if at_s <= before_s
        }

    def arrivals(self, name: str) -> list[Arrival]:
        """What one destination has noted so far."""
        destination = next(each for each in self.destinations if each.name == name)
        destination.read()
        return destination.arrivals

    def missing(self, acknowledged: set[str]) -> int:
        """Deliveries of these that no destination has noted."""
        for destination in self.destinations:
            destination.read()
        return sum(len(acknowledged - destination.uids) for destination in self.destinations)

    def regulate(self) -> None:
        """Let the senders rest while too much is on its way, until they are to stop.

        So the relay is busy and not overloaded, however fast the machine is, and what a fault delays shows as a delay.
        """
        while not self.stop_sending.wait(_LOOK_S):
            for destination in self.destinations:
                destination.read()
            behind = min((len(each.uids) for each in self.destinations), default=0)
            ahead = sum(len(tally.acknowledged) for tally in self._all_tallies()) - behind
            for sender in self.senders:
                if isinstance(sender, Prober):
                    continue
                (sender.rest.set if ahead > _ON_THEIR_WAY else sender.rest.clear)()

    def catch_up(self, *, within_s: float) -> float:
        """Wait until what is acknowledged now is at every destination: the seconds, inf when it is not in time."""
        began = time.monotonic()
        asked = self.acknowledged()
        while self.missing(asked):
            if time.monotonic() - began > within_s:
                return float("inf")
            time.sleep(0.1)
        return time.monotonic() - began

    def finish(self, *, within_s: float = _DRAIN_S) -> Account:
        """Stop the senders, wait until all is everywhere, stop the relay, and ask the oracle."""
        self.stop_sending.set()
        for sender in self.senders:
            sender.join(60)
        began = time.monotonic()
        left_s = within_s - self.catch_up(within_s=within_s)
        asked = self.acknowledged()
        while left_s > 0 and asked - {each.sop_instance_uid for each in archived(self.relay.home)}:
            time.sleep(0.3)
            left_s = within_s - (time.monotonic() - began)
        self.drained_in_s = time.monotonic() - began if left_s > 0 else float("inf")
        self.needs_attention = self.relay.status()["needs_attention"]
        self.relay.stop()
        return judge(self._findings())

    def _all_tallies(self) -> list[Tally]:
        return [*(sender.tally for sender in self.senders), *self.tallies]

    def _findings(self) -> Findings:
        tallies = self._all_tallies()
        held, damaged = spooled(self.relay.home)
        listed: dict[str, set[str]] = {}
        for row in self.needs_attention:
            listed.setdefault(row["destination"] or ARCHIVE, set()).add(row["sop_instance_uid"])
        arrived = {to.name: [each.copy for each in self.arrivals(to.name)] for to in self.destinations}
        return Findings(
            offered={uid: digest for tally in tallies for uid, digest in tally.offered.items()},
            acknowledged=self.acknowledged(),
            arrived={**arrived, ARCHIVE: archived(self.relay.home)},
            held=held,
            listed=listed,
            put_away=damaged,
            refused=sum(tally.refused for tally in tallies),
        )


@contextmanager
def campaign(
    home: Path,
    seed: int,
    *,
    toml: str = "",
    gateway: str = "",
    destinations: Sequence[DestinationProcess] | None = None,
    senders: int = 2,
    load: Load = _STEADY,
    storescu: bool = True,
    monitor: bool = False,
    delay_s: float = 0.0,
    relay_home: Path | None = None,
) -> Iterator[Campaign]:
    """Everything runs and instances flow; whatever still runs at the end is killed.

    Parameters
    ----------
    home : Path
        An empty folder; the relay's home is in it.
    destinations : sequence of DestinationProcess, optional
        Two that do everything right, when none are given.
    senders : int
        Of ours; one of DCMTK joins them where it is installed and `storescu` is set.
    delay_s : float
        What each destination waits before each answer: so long that workers are busy most of the time.
    relay_home : Path, optional
        The relay's home, where it is to be on another disk than what watches it.
    """
    home.mkdir(parents=True, exist_ok=True)
    known = (
        destinations
        if destinations is not None
        else [DestinationProcess(name, home) for name in ("north", "south")]
    )
    relay = Relay(
        relay_home or home / "relay",
        "".join(each.toml() for each in known) + toml,
        gateway=gateway,
        monitor=monitor,
        log=home / "up.log",
    )
    stop = threading.Event()
    crew: list[Sender] = [
        EngineSender(
            relay.remote,
            home / f"files-{number}",
            seed * 100 + number,
            stop,
            window=1 + 7 * (number % 2),
            load=load,
        )
        for number in range(senders)
    ]
    if storescu and StorescuSender.is_available():
        crew.append(StorescuSender(relay.remote, home / "files-dcmtk", seed * 100 + 99, stop, load=load))
    running = Campaign(relay, known, crew, stop)
    try:
        for each in known:
            each.start()
            if delay_s:
                each.behave(Behaviour(delay_s=delay_s))
        relay.start()
        for sender in crew:
            sender.start()
        threading.Thread(target=running.regulate, daemon=True).start()
        if crew:
            asked = len(crew)
            relay.wait_for(
                lambda: all(len({one.copy for one in running.arrivals(to.name)}) > asked for to in known),
                within_s=60,
                what="the first instances have arrived everywhere",
            )
        yield running
    finally:
        stop.set()
        relay.close()
        for each in known:
            each.stop()


def archived(home: Path) -> list[Copy]:
    """Every data set in the archive, read and hashed."""
    return [_copy(path) for path in sorted((home / "archive" / "data").rglob("*.dcm"))]


def spooled(home: Path) -> tuple[list[Copy], int]:
    """Every data set in the spool, read and hashed, and how many items the relay has put away as damaged."""
    spool = Spool(home / "spool")
    found = []
    try:
        for record in spool.records():
            try:
                spool.verify(record.id)
            except SpoolCorrupt:
                found.append(Copy(record.sop_instance_uid, "damaged"))
            else:
                found.append(Copy(record.sop_instance_uid, record.digest))
        return found, spool.usage().corrupt
    finally:
        spool.close()


def judged_at_rest(crew: Sequence[Sender], home: Path) -> Account:
    """What a gateway with nothing behind it has kept of what these senders offered."""
    held, damaged = spooled(home)
    tallies = [sender.tally for sender in crew]
    return judge(
        Findings(
            offered={uid: digest for tally in tallies for uid, digest in tally.offered.items()},
            acknowledged={uid for tally in tallies for uid in tally.acknowledged},
            arrived={},
            held=held,
            put_away=damaged,
            refused=sum(tally.refused for tally in tallies),
        )
    )


def _copy(path: Path) -> Copy:
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        meta = parse_file_meta(head)
        digest = hashlib.sha256(head[meta.data_set_offset :])
        while piece := file.read(1 << 20):
            digest.update(piece)
    return Copy(meta.sop_instance_uid, digest.hexdigest())
