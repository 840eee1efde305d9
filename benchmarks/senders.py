"""The senders by name: each sends a folder of instances to a port and says how long it took."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from benchmarks.data_sets import DataSets
from benchmarks.peers import RunFailed
from benchmarks.receivers import MAX_PDU_BYTES, NO_DELAY
from dicomrelay.runtime.ports import free_ports

_WITHIN_S = 1800.0
_STARTS = 5


@dataclass(frozen=True, slots=True)
class Sent:
    """How long it took; `window` is what was negotiated, 1 for a sender that knows no other."""

    seconds: float
    window: int = 1


@dataclass(frozen=True, slots=True)
class Sender:
    """A program that sends.

    Attributes
    ----------
    window : int
        Operations that it asks to have outstanding; 0 for a program that is not ours and asks for none.
    no_delay : bool
        Whether storescu gets TCP_NODELAY=1.
    calling : str
        The AE title that our sender calls itself; "" leaves it as it is.
    """

    name: str
    module: str = ""
    window: int = 0
    no_delay: bool = True
    calling: str = ""
    needs: tuple[str, ...] = ()

    def send(self, port: int, load: DataSets, source: Path, start_s: float) -> Sent:
        """Send all of `source`.

        Parameters
        ----------
        start_s : float
            What storescu takes to start, which is taken off; of no meaning for the others.

        Raises
        ------
        RunFailed
            It did not exit with 0.
        """
        if not self.module:
            environment = {**without_no_delay(), **(NO_DELAY if self.no_delay else {})}
            command = [*STORESCU, "127.0.0.1", str(port), "--scan-directories", str(source)]
            return Sent(without_start(timed(command, environment), start_s))
        options = ["--window", str(self.window)] if self.window else []
        options += ["--calling", self.calling] if self.calling else []
        words = run([sys.executable, "-m", self.module, str(port), str(source), load.sop_class_uid, *options])
        told = json.loads(words)
        return Sent(told["seconds"], told.get("window", 1)) if isinstance(told, dict) else Sent(float(told))


STORESCU = ("storescu", "--max-pdu", str(MAX_PDU_BYTES))
OUR_SENDER = "benchmarks.our_sender"


def ours_with(window: int) -> Sender:
    """Our sender, asking for a window of asynchronous operations."""
    return Sender(f"ours, window {window}", OUR_SENDER, window=window)


SENDERS = {
    sender.name: sender
    for sender in (
        Sender("minimal", "benchmarks.speed_of_light.minimal_sender"),
        Sender("ours", OUR_SENDER, window=1),
        Sender("storescu", needs=("storescu",)),
        Sender("storescu as installed", no_delay=False, needs=("storescu",)),
    )
}


def without_start(took_s: float, start_s: float) -> float:
    """What is left of a time when the start is taken off; never under a twentieth, however a short run was disturbed."""
    return max(took_s - start_s, took_s / 20)


def start_of_storescu(instance: Path, options: Sequence[str] = (), *, times: int = _STARTS) -> float:
    """Seconds that storescu takes before it connects, the median of a few: its call of a port where nobody listens."""
    found = []
    for _ in range(times):
        (port,) = free_ports(1)
        began = perf_counter()
        done = subprocess.run(
            [*STORESCU, *options, "127.0.0.1", str(port), str(instance)],
            capture_output=True,
            timeout=_WITHIN_S,
        )
        found.append(perf_counter() - began)
        if done.returncode == 0:
            raise RunFailed(f"somebody answered storescu on port {port}, where nobody should listen")
    return statistics.median(found)


def without_no_delay() -> dict[str, str]:
    """Our environment, as a program finds it that nobody has told of TCP_NODELAY."""
    return {name: value for name, value in os.environ.items() if name not in NO_DELAY}


def timed(command: Sequence[str], environment: dict[str, str]) -> float:
    """Seconds that a command takes, from outside."""
    began = perf_counter()
    run(command, environment)
    return perf_counter() - began


def run(command: Sequence[str], environment: dict[str, str] | None = None) -> str:
    """What a command says.

    Raises
    ------
    RunFailed
        It did not exit with 0, or not in half an hour.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=_WITHIN_S)
    except subprocess.TimeoutExpired:
        raise RunFailed(f"{' '.join(command)}: not done in {_WITHIN_S:g} s") from None
    if done.returncode:
        raise RunFailed(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.strip()[-2000:]}")
    return done.stdout
