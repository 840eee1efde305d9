"""What serves frames over HTTP: our streamer, nginx with each frame in a file, and Orthanc with its DICOMweb plug-in."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from pydicom import dcmread

from archive import Archive
from archive.importing import import_files
from benchmarks.archives import ArchiveServer
from benchmarks.peers import RunFailed, find
from benchmarks.receivers import NO_DELAY

BARE = {"Accept": 'application/octet-stream; transfer-syntax="*"'}
MULTIPART = {"Accept": 'multipart/related; type="application/octet-stream"; transfer-syntax="*"'}
_FILL_WITHIN_S = 600.0


@dataclass(frozen=True, slots=True)
class Asked:
    """A row: whom, and in which form."""

    name: str
    server: str
    headers: Mapping[str, str]
    prefix: str = ""


def frame_path(path: Path, number: int) -> str:
    """The path of a frame's URL, by the UIDs in a file."""
    ds = dcmread(path, stop_before_pixels=True)
    series = f"/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}"
    return f"{series}/instances/{ds.SOPInstanceUID}/frames/{number}"


def frame_bytes(path: Path, number: int) -> bytes:
    """A native frame of a file that `data_sets` wrote: Pixel Data is its last element."""
    ds = dcmread(path, stop_before_pixels=True)
    size = ds.Rows * ds.Columns * ds.BitsAllocated // 8
    count = int(ds.get("NumberOfFrames", 1))
    with path.open("rb") as file:
        file.seek(path.stat().st_size - size * (count - number + 1))
        return file.read(size)


def _streamer(folder: Path, port: int, _other: int, *, processes: int = 1) -> list[str]:
    (folder / "relay.toml").write_text(f"[streamer]\nport = {port}\nprocesses = {processes}\n", "ascii")
    return [sys.executable, "-m", "dicomrelay", "streamer", "--home", str(folder)]


def _import(_server: ArchiveServer, folder: Path, _port: int, source: Path) -> None:
    """As the workers leave it: filed, with frame indexes."""
    with closing(Archive.open(folder / "archive")) as archive:
        report = import_files(archive, [source], workers=1)
        if report.problems or report.stopped:
            raise RunFailed(f"our archive did not take all: {report.stopped or report.counts}")
        for path in source.iterdir():
            ds = dcmread(path, stop_before_pixels=True)
            stored = archive.find(ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID)
            archive.prepare_frames_of(stored)


def _nginx(folder: Path, port: int, _other: int) -> list[str]:
    """As it comes, with one worker, sendfile, and header fields in one packet with what follows."""
    temporary = " ".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    # As root it would change to a user who cannot read our folders.
    user = "user root;" if os.geteuid() == 0 else ""
    configuration = folder / "nginx.conf"
    configuration.write_text(
        f"{user} worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log stderr;\n"
        "events { worker_connections 256; }\n"
        f"http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000; {temporary}\n"
        f"server {{ listen 127.0.0.1:{port}; root {folder}/www; }} }}\n",
        "utf-8",
    )
    return [find("nginx") or "nginx", "-p", str(folder), "-c", str(configuration)]


def _as_files(_server: ArchiveServer, folder: Path, _port: int, source: Path) -> None:
    for path in source.iterdir():
        frame = folder / f"www{frame_path(path, 1)}"
        frame.parent.mkdir(parents=True)
        frame.write_bytes(frame_bytes(path, 1))


def _orthanc(folder: Path, port: int, _other: int) -> list[str]:
    document: dict[str, Any] = {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": port,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "KeepAlive": True,
        "Plugins": [find("libOrthancDicomWeb.so")],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    configuration = folder / "orthanc.json"
    configuration.write_text(json.dumps(document), "utf-8")
    return [find("Orthanc") or "Orthanc", str(configuration)]


def _post(server: ArchiveServer, _folder: Path, port: int, source: Path) -> None:
    for path in source.iterdir():
        request = Request(f"http://127.0.0.1:{port}/instances", path.read_bytes(), method="POST")
        try:
            with urlopen(request, timeout=_FILL_WITHIN_S) as answer:
                answer.read()
        except OSError as error:
            raise RunFailed(f"{server.name} takes no instances: {error}") from None


STREAMER, TWO_PROCESSES, NGINX, ORTHANC = "dicomrelay", "dicomrelay, two processes", "nginx", "Orthanc"
SERVERS = {
    server.name: server
    for server in (
        ArchiveServer(STREAMER, "", _streamer, _import, is_filled_first=True),
        ArchiveServer(TWO_PROCESSES, "", partial(_streamer, processes=2), _import, is_filled_first=True),
        ArchiveServer(NGINX, "", _nginx, _as_files, is_filled_first=True, needs=("nginx",)),
        ArchiveServer(
            ORTHANC, "", _orthanc, _post, needs=("Orthanc", "libOrthancDicomWeb.so"), environment=NO_DELAY
        ),
    )
}
