"""The archives by name: how each is started, gets its instances, and is told of the one AE that it may move to."""

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

from archive import Archive
from archive.importing import import_files
from benchmarks.our_retriever import CALLING
from benchmarks.peers import RunFailed, find
from benchmarks.receivers import MAX_PDU_BYTES, NO_DELAY
from benchmarks.relays import DESTINATION_AE_TITLE
from benchmarks.senders import STORESCU
from dicomrelay.runtime.ports import free_ports
from dicomrelay.runtime.process import start, stop

_START_WITHIN_S = 60.0
_STOP_WITHIN_S = 20.0
_FILL_WITHIN_S = 600.0


@dataclass(frozen=True, slots=True)
class ArchiveServer:
    """A program that answers C-MOVE and C-GET.

    Attributes
    ----------
    command : callable
        From its empty folder, its port and that of the destination to its command line; writes its configuration.
    fill : callable
        Puts the instances of a folder into it: before it is started, or through its port afterwards.
    is_filled_first : bool
        Whether `fill` comes before the start.
    """

    name: str
    ae_title: str
    command: Callable[[Path, int, int], list[str]]
    fill: Callable[[ArchiveServer, Path, int, Path], None]
    is_filled_first: bool = False
    needs: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def serving(server: ArchiveServer, folder: Path, source: Path, destination_port: int) -> Iterator[int]:
    """Start an archive in an empty folder with the instances of `source`; its port.

    Raises
    ------
    RunFailed
        It does not listen in a minute, takes no instances, or died before it was stopped.
    """
    (port,) = free_ports(1)
    command = server.command(folder, port, destination_port)
    if server.is_filled_first:
        server.fill(server, folder, port, source)
    log = folder.parent / f"{folder.name}.log"
    with log.open("wb") as output:
        process = start(command, output=output, environment=dict(server.environment))
    try:
        deadline = monotonic() + _START_WITHIN_S
        while not _listens(port):
            if process.poll() is not None or monotonic() > deadline:
                raise RunFailed(
                    f"{server.name} does not listen: {log.read_text('utf-8', 'replace')[-2000:].strip()}"
                )
            sleep(0.02)
        if not server.is_filled_first:
            server.fill(server, folder, port, source)
        yield port
        if process.poll() is not None:
            raise RunFailed(f"{server.name} died: {log.read_text('utf-8', 'replace')[-2000:].strip()}")
    finally:
        stop(process, grace_s=_STOP_WITHIN_S)
        log.unlink()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


# ---- ours


def _gateway(folder: Path, port: int, destination_port: int) -> list[str]:
    (folder / "relay.toml").write_text(
        f'[gateway]\nport = {port}\n[[destinations]]\nname = "sink"\nae_title = "{DESTINATION_AE_TITLE}"\n'
        f'host = "127.0.0.1"\nport = {destination_port}\n',
        "ascii",
    )
    return [sys.executable, "-m", "scp_gateway", "--home", str(folder)]


def _import(_server: ArchiveServer, folder: Path, _port: int, source: Path) -> None:
    opened = Archive.open(folder / "archive")
    try:
        report = import_files(opened, [source], workers=1)
    finally:
        opened.close()
    if report.problems or report.stopped or report.files != len(list(source.iterdir())):
        raise RunFailed(f"our archive did not take all: {report.stopped or report.counts}")


# ---- those of others


def _store(server: ArchiveServer, _folder: Path, port: int, source: Path) -> None:
    command = [*STORESCU, "-aet", CALLING, "-aec", server.ae_title, "127.0.0.1", str(port)]
    done = subprocess.run(
        [*command, "--scan-directories", str(source)], capture_output=True, text=True, timeout=_FILL_WITHIN_S
    )
    if done.returncode:
        raise RunFailed(f"{server.name} takes no instances: {done.stderr[-2000:]}")


def _dcmqrscp(folder: Path, port: int, destination_port: int) -> list[str]:
    (folder / "store").mkdir()
    configuration = folder / "dcmqrscp.cfg"
    configuration.write_text(
        f'NetworkTCPPort = {port}\nMaxPDUSize = {MAX_PDU_BYTES}\nMaxAssociations = 16\nDisplay = "no"\n'
        f"HostTable BEGIN\nsink = ({DESTINATION_AE_TITLE}, 127.0.0.1, {destination_port})\nHostTable END\n"
        f"VendorTable BEGIN\nVendorTable END\n"
        f"AETable BEGIN\nQRSCP {folder / 'store'} RW (200, 4096mb) ANY\nAETable END\n",
        "utf-8",
    )
    return ["dcmqrscp", "-c", str(configuration)]


def _orthanc(folder: Path, port: int, destination_port: int) -> list[str]:
    document: dict[str, Any] = {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpServerEnabled": False,
        "DicomAet": "ORTHANC",
        "DicomPort": port,
        "DicomCheckCalledAet": False,
        "DicomAlwaysAllowGet": True,
        "DicomAlwaysAllowMove": True,
        "DicomModalities": {
            "sink": [DESTINATION_AE_TITLE, "127.0.0.1", destination_port],
            "bench": [CALLING, "127.0.0.1", 1],
        },
        "MaximumPduLength": MAX_PDU_BYTES,
        "Plugins": [],
    }
    configuration = folder / "orthanc.json"
    configuration.write_text(json.dumps(document), "utf-8")
    return [find("Orthanc") or "Orthanc", str(configuration)]


OURS = "dicomrelay"
ARCHIVES = {
    server.name: server
    for server in (
        ArchiveServer(OURS, "DICOMRELAY", _gateway, _import, is_filled_first=True),
        ArchiveServer(
            "dcmqrscp", "QRSCP", _dcmqrscp, _store, needs=("dcmqrscp", "storescu"), environment=NO_DELAY
        ),
        ArchiveServer(
            "Orthanc", "ORTHANC", _orthanc, _store, needs=("Orthanc", "storescu"), environment=NO_DELAY
        ),
    )
}
