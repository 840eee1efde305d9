"""The relays by name: each takes instances in and sends them on to one destination, which it is told of when it starts."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import monotonic, sleep

from benchmarks.peers import RunFailed, find
from benchmarks.receivers import MAX_PDU_BYTES, NO_DELAY
from dicomrelay.runtime.ports import free_ports
from dicomrelay.runtime.process import start, stop

DESTINATION_AE_TITLE = "SINK"
_START_WITHIN_S = 120.0
_STOP_WITHIN_S = 90.0
_LUA = """function OnStoredInstance(instanceId, tags, metadata, origin)
  SendToModality(instanceId, 'sink')
end
"""


@dataclass(frozen=True, slots=True)
class Relay:
    """A program that receives and forwards.

    Attributes
    ----------
    command : callable
        From its empty folder, its port and the destination's to its command line; writes its configuration.
    ready : str
        A file under the folder that is there when it is ready; "" for one that is when it listens.
    archived : str
        Where it keeps what it received, as a glob under the folder; "" when nobody looks.
    """

    name: str
    command: Callable[[Path, int, int], list[str]]
    ready: str = ""
    archived: str = ""
    needs: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunningRelay:
    """A relay that takes instances."""

    relay: Relay
    folder: Path
    port: int

    def archived(self) -> list[Path]:
        """What it has kept."""
        return [path for path in self.folder.glob(self.relay.archived) if path.is_file()]


@contextmanager
def relaying(relay: Relay, folder: Path, destination_port: int) -> Iterator[RunningRelay]:
    """Start a relay in an empty folder; it is stopped at the end, and its files stay.

    Raises
    ------
    RunFailed
        It is not ready in two minutes, or died before it was stopped.
    """
    (port,) = free_ports(1)
    log = folder.parent / f"{folder.name}.log"
    with log.open("wb") as output:
        process = start(
            relay.command(folder, port, destination_port),
            output=output,
            environment=dict(relay.environment),
        )
    try:
        _await(relay, folder, port, process, log)
        yield RunningRelay(relay, folder, port)
        if process.poll() is not None:
            raise RunFailed(f"{relay.name} died: {_tail(log)}")
    finally:
        stop(process, grace_s=_STOP_WITHIN_S)
        log.unlink()


def _await(relay: Relay, folder: Path, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = monotonic() + _START_WITHIN_S
    while process.poll() is None and monotonic() < deadline:
        if (folder / relay.ready).exists() and _listens(port):
            return
        sleep(0.05)
    raise RunFailed(f"{relay.name} is not ready: {_tail(log)}")


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _tail(log: Path) -> str:
    return log.read_text("utf-8", "replace")[-2000:].strip() or "it said nothing"


# ---- the commands


def ours(name: str, tables: Callable[[int], str]) -> Relay:
    """`dicomrelay up` as it comes, on free ports.

    Parameters
    ----------
    tables : callable
        From the port of the destination to what stands in relay.toml about destinations.
    """

    def command(folder: Path, port: int, destination_port: int) -> list[str]:
        streamer, monitor = free_ports(2)
        ports = f"[gateway]\nport = {port}\n[streamer]\nport = {streamer}\n[monitor]\nport = {monitor}\n"
        (folder / "relay.toml").write_text(ports + tables(destination_port), "ascii")
        return [sys.executable, "-m", "dicomrelay", "up", "--home", str(folder)]

    return Relay(name, command, ready="run/ready", archived="archive/data/*/*/*/*.dcm")


def destination(name: str, port: int, more: str = "") -> str:
    """Its table in relay.toml."""
    return (
        f'[[destinations]]\nname = "{name}"\nae_title = "{DESTINATION_AE_TITLE}"\nhost = "127.0.0.1"\n'
        f"port = {port}\n{more}\n"
    )


def _orthanc(folder: Path, port: int, destination_port: int) -> list[str]:
    """As it comes, SyncStorageArea with it, and its book's script for automatic routing. No HTTP; any AE title may call."""
    (folder / "storage").mkdir()
    (folder / "forward.lua").write_text(_LUA, "ascii")
    (folder / "orthanc.json").write_text(
        json.dumps(
            {
                "StorageDirectory": str(folder / "storage"),
                "IndexDirectory": str(folder / "storage"),
                "SyncStorageArea": True,
                "HttpServerEnabled": False,
                "DicomPort": port,
                "DicomCheckCalledAet": False,
                "MaximumPduLength": MAX_PDU_BYTES,
                "Plugins": [],
                "DicomModalities": {"sink": [DESTINATION_AE_TITLE, "127.0.0.1", destination_port]},
                "LuaScripts": [str(folder / "forward.lua")],
            }
        ),
        "utf-8",
    )
    return [find("Orthanc") or "Orthanc", str(folder / "orthanc.json")]


RELAY = ours("dicomrelay", partial(destination, "sink"))
ORTHANC = Relay("Orthanc", _orthanc, needs=("Orthanc",), environment=NO_DELAY)
# Its sender leaves Nagle's algorithm on unless the environment says otherwise: 40 ms an instance of some sizes.
ORTHANC_AS_INSTALLED = Relay("Orthanc as installed", _orthanc, needs=("Orthanc",))
