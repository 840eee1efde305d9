"""A destination process from the outside: started, told what to do, its journal read."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from chaos.destination import Behaviour
from chaos.oracle import Copy
from dicomrelay.runtime.ports import free_ports


class Arrival(NamedTuple):
    """One whole data set that came, at a time of the monotonic clock."""

    at_s: float
    copy: Copy
    association: int


class DestinationProcess:
    """`python -m chaos.destination`.

    Parameters
    ----------
    folder : Path
        Where the journal is.
    host : str
        The address by which the relay reaches it.
    prefix : sequence of str
        In front of the command: `ip netns exec NAME` for one behind a wire of its own.
    more : str
        Further keys of its table in relay.toml.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        host: str = "127.0.0.1",
        prefix: Sequence[str] = (),
        more: str = "",
    ) -> None:
        self.name = name
        self.host = host
        self.port = free_ports(1)[0]
        self.called_at = self.port
        self.journal = folder / f"{name}.journal"
        self._prefix = prefix
        self._more = more
        self._process: subprocess.Popen[str] | None = None
        self._position = 0
        self._reading = threading.Lock()
        self.arrivals: list[Arrival] = []
        self.uids: set[str] = set()
        self.connected_at: dict[int, float] = {}
        self.ended_at: dict[int, float] = {}
        self.bytes_received = 0
        self.ended_on_purpose = 0

    def start(self) -> None:
        """Listen."""
        argv = [*self._prefix, sys.executable, "-m", "chaos.destination", str(self.port), str(self.journal)]
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._await("ready")

    def behave(self, behaviour: Behaviour) -> None:
        """From now on; returns when it is so."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(behaviour)) + "\n")
        self._process.stdin.flush()
        self._await("done")

    def stand_behind(self, port: int, more: str) -> None:
        """Be called at that port, where somebody passes on what comes, by these further keys of its table."""
        self.called_at, self._more = port, more

    def stop(self) -> None:
        """End it; what it has noted stays."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(OSError):
            os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        self._process = None

    def read(self) -> None:
        """Take in what the journal has got since the last time."""
        with self._reading:
            self._read()

    def _read(self) -> None:
        if not self.journal.exists():
            return
        with self.journal.open("rb") as file:
            file.seek(self._position)
            fresh = file.read()
        whole = fresh[: fresh.rfind(b"\n") + 1]
        self._position += len(whole)
        for line in whole.decode("ascii").splitlines():
            kind, at_s, *rest = line.split(" ")
            if kind == "i":
                self.arrivals.append(Arrival(float(at_s), Copy(rest[0], rest[1]), int(rest[2])))
                self.uids.add(rest[0])
            elif kind == "a":
                self.connected_at[int(rest[0])] = float(at_s)
            elif kind == "x":
                self.ended_on_purpose += 1
            else:
                self.ended_at[int(rest[0])] = float(at_s)
                self.bytes_received += int(rest[1])

    def open_at(self, at_s: float) -> int:
        """How many associations were open at a time of the monotonic clock."""
        return sum(
            began <= at_s < self.ended_at.get(number, float("inf"))
            for number, began in self.connected_at.items()
        )

    def toml(self) -> str:
        """Its table in relay.toml."""
        return (
            f'[[destinations]]\nname = "{self.name}"\nae_title = "{self.name.upper()}"\nhost = "{self.host}"\n'
            f"port = {self.called_at}\nretry_initial_s = 0.5\nretry_max_s = 2\n{self._more}\n"
        )

    def _await(self, word: str) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        said = self._process.stdout.readline().strip()
        if said != word:
            raise RuntimeError(f"destination {self.name} says {said!r}, not {word!r}")
