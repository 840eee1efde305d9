"""Kill -9 the gateway again and again while it receives, and look for what it promised to keep.

    python -m chaos.kill_gateway --kills 300

Senders note each instance that was answered Success. After the last crash the spool must hold every one of them,
with the bytes that were sent. Exit code 0 when it does, 4 when something is lost.
"""

from __future__ import annotations

import argparse
import bisect
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Final

from chaos.senders import EngineSender, Sender, StorescuSender, Tally
from dicomrelay.errors import ExitCode, SpoolCorrupt
from dicomrelay.net.requestor import RemoteAe
from dicomrelay.runtime.ports import free_ports
from dicomrelay.runtime.process import start
from dicomrelay.spool import Spool

GATEWAY: Final = (sys.executable, "-m", "scp_gateway")
_START_WITHIN_S: Final = 20.0
_LONGEST_LIFE_S: Final = 0.4
# What the senders of our own have outstanding at once, in turn.
_WINDOWS: Final = (8, 1)


@dataclass(frozen=True, slots=True)
class Scorecard:
    """What came of it.

    Attributes
    ----------
    lost : int
        Acknowledged, and not in the spool.
    corrupt : int
        In the spool with other bytes than were sent, or put away as corrupt.
    phantom : int
        In the spool, and never offered.
    refused : int
        Answered with a failure.
    twice : int
        In the spool more than once: the crash came between commit and answer, and it was sent again. Allowed.
    swept : int
        Half written files that the starts after a crash cleared away.
    leftovers : int
        Files of dead writers that the last start did not sweep.
    slowest_start_s : float
        The longest that it took from a start of the process to the first acknowledgement.
    """

    kills: int
    acknowledged: int
    lost: int
    corrupt: int
    phantom: int
    refused: int
    twice: int
    swept: int
    leftovers: int
    broken_associations: int
    seconds: float
    slowest_start_s: float = 0.0

    @property
    def kept_the_promise(self) -> bool:
        """Whether nothing that matters went wrong."""
        return not (self.lost or self.corrupt or self.phantom or self.leftovers or self.refused)

    def __str__(self) -> str:
        bound = ""
        if self.acknowledged and not self.lost:
            bound = (
                f"\nnone lost of N = {self.acknowledged}: the chance of a loss is under 3/N = "
                f"{3 / self.acknowledged:.1e} (95 %)"
            )
        return (
            f"{self.kills} kills in {self.seconds:.0f} s, {self.acknowledged} instances acknowledged, "
            f"{self.broken_associations} associations broken\n"
            f"lost {self.lost}   corrupt {self.corrupt}   phantom {self.phantom}   leftovers {self.leftovers}   "
            f"refused {self.refused}\n"
            f"crashes met {self.swept} half written files, swept since, and {self.twice} instances committed but not yet "
            f"answered, kept twice"
            f"{bound}"
        )


class Gateway:
    """The gateway as a process of its own, to be killed.

    Parameters
    ----------
    command : sequence of str
        What is started; `--home DIR` is put behind it. May be set anew between two starts.
    log : Path, optional
        By default in the home.
    """

    def __init__(
        self, home: Path, command: Sequence[str], *, log: Path | None = None, min_free_bytes: int = 0
    ) -> None:
        self.port = free_ports(1)[0]
        self.command = command
        self._home = home
        self._log_path = log or home / "gateway.log"
        self._log = self._log_path.open("ab")
        (home / "relay.toml").write_text(
            f"[gateway]\nport = {self.port}\nmin_free_bytes = {min_free_bytes}\n", encoding="ascii"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until it takes connections."""
        self._process = start([*self.command, "--home", str(self._home)], output=self._log)
        deadline = time.monotonic() + _START_WITHIN_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"the gateway does not start, see {self._log_path}") from None
                time.sleep(0.005)
            else:
                return

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for one that does not listen."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
        self._log.close()


def run(
    kills: int, home: Path, *, seed: int, senders: int = 3, command: Sequence[str] = GATEWAY
) -> Scorecard:
    """The whole experiment, in `home`.

    Parameters
    ----------
    kills : int
        How often the gateway is killed; it lives up to 0.4 s each time.
    senders : int
        Senders of ours, beside one of DCMTK where that is installed.
    command : sequence of str
        What is started as the gateway; `--home DIR` is put behind it.
    """
    chance = random.Random(seed)
    began = time.monotonic()
    gateway = Gateway(home, command)
    stop = threading.Event()
    crew = _crew(RemoteAe("DICOMRELAY", "127.0.0.1", gateway.port), home, seed, senders, stop)
    gateway.start()
    for sender in crew:
        sender.start()
    starts = []
    for _ in range(kills):
        time.sleep(chance.uniform(0.0, _LONGEST_LIFE_S))
        gateway.kill()
        starts.append(time.monotonic())
        gateway.start()
    time.sleep(0.2)
    stop.set()
    for sender in crew:
        sender.join(30)
    gateway.stop()
    tallies = [sender.tally for sender in crew]
    card = _judge(home, kills, tallies, time.monotonic() - began)
    return replace(card, slowest_start_s=_slowest(starts, tallies))


def _slowest(starts: Sequence[float], tallies: Sequence[Tally]) -> float:
    """Of the starts that were followed by an acknowledgement before the next kill."""
    acknowledged = sorted(at_s for tally in tallies for at_s in tally.acknowledged_at.values())
    waits = []
    for start_s, next_s in pairwise([*starts, float("inf")]):
        first = bisect.bisect(acknowledged, start_s)
        if first < len(acknowledged) and acknowledged[first] < next_s:
            waits.append(acknowledged[first] - start_s)
    return max(waits, default=0.0)


def _crew(remote: RemoteAe, home: Path, seed: int, count: int, stop: threading.Event) -> list[Sender]:
    crew: list[Sender] = [
        EngineSender(
            remote,
            home / f"files-{number}",
            seed * 1000 + number,
            stop,
            window=_WINDOWS[number % len(_WINDOWS)],
        )
        for number in range(count)
    ]
    if StorescuSender.is_available():
        crew.append(StorescuSender(remote, home / "files-dcmtk", seed * 1000 + count, stop))
    return crew


def _judge(home: Path, kills: int, tallies: Sequence[Tally], seconds: float) -> Scorecard:
    offered = {uid: digest for tally in tallies for uid, digest in tally.offered.items()}
    acknowledged = {uid for tally in tallies for uid in tally.acknowledged}
    spool = Spool(home / "spool")
    good: set[str] = set()
    corrupt: set[str] = set()
    phantom: set[str] = set()
    copies: Counter[str] = Counter()
    for record in spool.records():
        uid = record.sop_instance_uid
        copies[uid] += 1
        try:
            spool.verify(record.id)
        except SpoolCorrupt:
            corrupt.add(uid)
        else:
            kind = good if offered.get(uid) == record.digest else corrupt if uid in offered else phantom
            kind.add(uid)
    put_away = spool.usage().corrupt
    spool.close()
    return Scorecard(
        kills=kills,
        acknowledged=len(acknowledged),
        lost=len(acknowledged - good),
        corrupt=len(corrupt) + put_away,
        phantom=len(phantom),
        refused=sum(tally.refused for tally in tallies),
        twice=sum(count > 1 for count in copies.values()),
        swept=sum(
            int(number) for number in re.findall(r'"swept": (\d+)', (home / "gateway.log").read_text("utf-8"))
        ),
        leftovers=len(list((home / "spool" / "new").glob("*.part"))),
        broken_associations=sum(tally.broken_associations for tally in tallies),
        seconds=seconds,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m chaos.kill_gateway", description=__doc__)
    parser.add_argument("--kills", type=int, default=300, help="how often (default 300)")
    parser.add_argument("--senders", type=int, default=3, help="senders beside DCMTK's (default 3)")
    parser.add_argument("--seed", type=int, default=None, help="for the same times and bytes again")
    parser.add_argument("--home", type=Path, default=None, help="an empty folder on the disk to be tried")
    options = parser.parse_args(arguments)
    seed = random.SystemRandom().randrange(1 << 16) if options.seed is None else options.seed
    home = options.home or Path(tempfile.mkdtemp(prefix="kill-gateway-", dir="."))
    home.mkdir(parents=True, exist_ok=True)
    print(f"seed {seed}, home {home}", flush=True)
    card = run(options.kills, home.absolute(), seed=seed, senders=options.senders)
    print(card)
    if not card.kept_the_promise:
        print(f"the promise is broken; look into {home}", file=sys.stderr)
        return ExitCode.INTEGRITY
    if options.home is None:
        shutil.rmtree(home)
    return ExitCode.OK


if __name__ == "__main__":
    raise SystemExit(main())
