"""The receivers by name: how each is started, and where it puts what it receives."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from benchmarks.peers import RunFailed, find
from benchmarks.processes import peak_mib
from dicomrelay.runtime.ports import free_ports
from dicomrelay.runtime.process import start, stop

# DCMTK, and Orthanc which is built on it, wait for delayed acknowledgements without it (40 ms an instance).
NO_DELAY = {"TCP_NODELAY": "1"}
MAX_PDU_BYTES = 131_072  # the most that storescp takes; the others get the same where they can be told

_START_WITHIN_S = 30.0
_STOP_WITHIN_S = 20.0


@dataclass(frozen=True, slots=True)
class Receiver:
    """A program that receives.

    Attributes
    ----------
    command : callable
        From its empty folder and its port to its command line; writes its configuration.
    stored : str
        Where the instances end up, as a glob under the folder. Files of other kinds among them are passed over.
    is_durable : bool
        Whether it flushes before it answers.
    needs : tuple of str
        Programs that have to be installed.
    """

    name: str
    command: Callable[[Path, int], list[str]]
    stored: str
    is_durable: bool = False
    needs: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Running:
    """A receiver that listens."""

    receiver: Receiver
    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def peak_mib(self) -> float:
        """The most memory that it has held."""
        return peak_mib(self.process.pid)

    def files(self) -> Iterator[Path]:
        """What it has stored."""
        return (path for path in self.folder.glob(self.receiver.stored) if path.is_file())


@contextmanager
def running(receiver: Receiver, folder: Path) -> Iterator[Running]:
    """Start a receiver in an empty folder; it is stopped at the end, and its files stay.

    Raises
    ------
    RunFailed
        It does not listen in half a minute, or died before it was stopped.
    """
    (port,) = free_ports(1)
    log = folder.parent / f"{folder.name}.log"
    with log.open("wb") as output:
        process = start(receiver.command(folder, port), output=output, environment=dict(receiver.environment))
    try:
        _await_listener(receiver.name, port, process, log)
        yield Running(receiver, folder, port, process)
        if process.poll() is not None:
            raise RunFailed(f"{receiver.name} died: {_tail(log)}")
    finally:
        stop(process, grace_s=_STOP_WITHIN_S)
        log.unlink()


def _await_listener(name: str, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = monotonic() + _START_WITHIN_S
    while process.poll() is None and monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            sleep(0.02)
        else:
            return
    raise RunFailed(f"{name} does not listen: {_tail(log)}")


def _tail(log: Path) -> str:
    return log.read_text("utf-8", "replace")[-2000:].strip() or "it said nothing"


# ---- the commands


def module(name: str, *options: str) -> Callable[[Path, int], list[str]]:
    """The command of a module of ours that is told its port and its folder."""

    def command(folder: Path, port: int) -> list[str]:
        return [sys.executable, "-m", name, str(port), str(folder), *options]

    return command


def _storescp(*options: str) -> Callable[[Path, int], list[str]]:
    def command(folder: Path, port: int) -> list[str]:
        return [
            "storescp", "--max-pdu", str(MAX_PDU_BYTES), "+xa", *options, "-od", str(folder), str(port),
        ]  # fmt: skip

    return command


def _pynetdicom(folder: Path, port: int) -> list[str]:
    options = ["--bind-address", "127.0.0.1", "--max-pdu", str(MAX_PDU_BYTES)]
    return [sys.executable, "-m", "pynetdicom", "storescp", *options, "-od", str(folder), str(port)]


def _orthanc(folder: Path, port: int) -> list[str]:
    """As it comes, SyncStorageArea with it: it flushes each file. No HTTP, and any AE title may call."""
    (folder / "storage").mkdir()
    document: dict[str, Any] = {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "SyncStorageArea": True,
        "HttpServerEnabled": False,
        "DicomPort": port,
        "DicomCheckCalledAet": False,
        "MaximumPduLength": MAX_PDU_BYTES,
        "Plugins": [],
    }
    configuration = folder / "orthanc.json"
    configuration.write_text(json.dumps(document), "utf-8")
    return [find("Orthanc") or "Orthanc", str(configuration)]


def gateway(name: str, **settings: int) -> Receiver:
    """Our gateway as a process of its own, with a spool and no workers.

    Parameters
    ----------
    settings : int
        More of [gateway], beside the port.
    """

    def command(folder: Path, port: int) -> list[str]:
        lines = [f"{key} = {value}" for key, value in {"port": port, **settings}.items()]
        (folder / "relay.toml").write_text("[gateway]\n" + "\n".join(lines) + "\n", "ascii")
        return [sys.executable, "-m", "scp_gateway", "--home", str(folder)]

    return Receiver(name, command, "spool/new/*.dcm", is_durable=True)


_MINIMAL = "benchmarks.speed_of_light.minimal_receiver"

RECEIVERS = {
    receiver.name: receiver
    for receiver in (
        Receiver("minimal", module(_MINIMAL), "*"),
        Receiver("minimal-sync", module(_MINIMAL, "sync"), "*", is_durable=True),
        Receiver("ours", module("benchmarks.our_receiver"), "*"),
        gateway("gateway"),
        Receiver("storescp", _storescp(), "*", needs=("storescp",), environment=NO_DELAY),
        Receiver("storescp +B", _storescp("+B"), "*", needs=("storescp",), environment=NO_DELAY),
        Receiver("storescp as installed", _storescp(), "*", needs=("storescp",)),
        Receiver("pynetdicom", _pynetdicom, "*"),
        Receiver(
            "Orthanc",
            _orthanc,
            "storage/*/*/*",
            is_durable=True,
            needs=("Orthanc",),
            environment=NO_DELAY,
        ),
    )
}
