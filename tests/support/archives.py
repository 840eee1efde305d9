"""Archives of others that answer queries and retrievals: DCMTK's dcmqrscp and wlmscpfs, and Orthanc."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset

from dicomrelay.net.requestor import RemoteAe
from dicomrelay.runtime.ports import free_ports
from tests.support.house import require, wait_for

CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
EXPLICIT = "1.2.840.10008.1.2.1"
STUDY, OTHER_STUDY = "1.2.826.0.1.3680043.10.1.1", "1.2.826.0.1.3680043.10.1.2"


@dataclass(frozen=True)
class Archive:
    """One that runs, as a peer."""

    remote: RemoteAe

    @property
    def address(self) -> str:
        """As it is written on a command line."""
        return str(self.remote)


def write_study(
    folder: Path, *, study: str = STUDY, name: str = "MÜLLER^JÖRG", instances: int = 3
) -> list[Path]:
    """Small CT instances of one series, written by pydicom."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(1, instances + 1):
        ds = Dataset()
        ds.SpecificCharacterSet = "ISO_IR 100"
        ds.SOPClassUID, ds.SOPInstanceUID = CT, f"{study}.1.{number}"
        ds.StudyInstanceUID, ds.SeriesInstanceUID = study, f"{study}.1"
        ds.PatientID, ds.PatientName, ds.PatientSex, ds.PatientBirthDate = "P1", name, "O", "19700101"
        ds.StudyDate, ds.StudyTime, ds.StudyID, ds.AccessionNumber = "20260102", "101500", "1", "A1"
        ds.StudyDescription, ds.Modality = "HEAD", "CT"
        ds.SeriesNumber, ds.InstanceNumber = 1, number
        ds.Rows = ds.Columns = 16
        ds.BitsAllocated = ds.BitsStored = 16
        ds.HighBit, ds.PixelRepresentation, ds.SamplesPerPixel = 15, 0, 1
        ds.PhotometricInterpretation = "MONOCHROME2"
        ds.PixelData = bytes([number]) * 512
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = EXPLICIT
        path = folder / f"{study}.{number}.dcm"
        dcmwrite(path, ds, enforce_file_format=True)
        paths.append(path)
    return paths


@contextmanager
def _running(argv: Sequence[str], port: int, log: Path, *, timeout_s: float = 20) -> Iterator[None]:
    with log.open("ab") as out:
        process = subprocess.Popen(argv, stdout=out, stderr=out, cwd=log.parent)
    try:
        wait_for(lambda: _listens(port), timeout_s=timeout_s, what=f"{argv[0]} listens on {port}")
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def dcmqrscp(folder: Path, *, destination: RemoteAe | None = None) -> Iterator[Archive]:
    """DCMTK's archive; it may move to `destination`."""
    program = require("dcmqrscp")
    (port,) = free_ports(1)
    (folder / "store").mkdir(parents=True)
    hosts = (
        f"target = ({destination.ae_title}, {destination.host}, {destination.port})\n" if destination else ""
    )
    (folder / "dcmqrscp.cfg").write_text(
        f'NetworkTCPPort = {port}\nMaxPDUSize = 16384\nMaxAssociations = 16\nDisplay = "no"\n'
        f"HostTable BEGIN\n{hosts}HostTable END\nVendorTable BEGIN\nVendorTable END\n"
        f"AETable BEGIN\nQRSCP {folder / 'store'} RW (200, 1024mb) ANY\nAETable END\n",
        "utf-8",
    )
    argv = [program, "-c", str(folder / "dcmqrscp.cfg"), "-d"]
    with _running(argv, port, folder / "dcmqrscp.log"):
        yield Archive(RemoteAe("QRSCP", "127.0.0.1", port))


@contextmanager
def orthanc(folder: Path, *, destination: RemoteAe | None = None, **more: object) -> Iterator[Archive]:
    """Orthanc; it may move to `destination`. `more` is put into its configuration."""
    program = shutil.which("Orthanc", path="/usr/sbin:/usr/bin:/usr/local/bin") or require("Orthanc")
    port, http = free_ports(2)
    folder.mkdir(parents=True, exist_ok=True)
    modalities = {"target": [destination.ae_title, destination.host, destination.port]} if destination else {}
    modalities["us"] = ["US", "127.0.0.1", 1]
    (folder / "orthanc.json").write_text(
        json.dumps(
            {
                "Name": "TEST", "StorageDirectory": str(folder / "db"), "IndexDirectory": str(folder / "db"),
                "HttpPort": http, "RemoteAccessAllowed": False, "DicomAet": "ORTHANC", "DicomPort": port,
                "DicomAlwaysAllowFind": True, "DicomAlwaysAllowGet": True, "DicomAlwaysAllowMove": True,
                "DicomCheckCalledAet": False, "DicomModalities": modalities, "Plugins": [],
                **more,
            }
        ),
        "utf-8",
    )  # fmt: skip
    with _running([program, str(folder / "orthanc.json")], port, folder / "orthanc.log", timeout_s=40):
        yield Archive(RemoteAe("ORTHANC", "127.0.0.1", port))


@contextmanager
def wlmscpfs(folder: Path, steps: Sequence[Dataset]) -> Iterator[Archive]:
    """DCMTK's worklist server with these scheduled procedure steps."""
    program = require("wlmscpfs")
    (port,) = free_ports(1)
    place = folder / "WORKLIST"
    place.mkdir(parents=True)
    (place / "lockfile").touch()
    for number, step in enumerate(steps):
        step.file_meta = FileMetaDataset()
        step.file_meta.TransferSyntaxUID = EXPLICIT
        step.file_meta.MediaStorageSOPClassUID = "1.2.276.0.7230010.3.1.0.1"
        step.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
        dcmwrite(place / f"{number}.wl", step, enforce_file_format=True)
    with _running([program, "-dfp", str(folder), str(port)], port, folder / "wlmscpfs.log"):
        yield Archive(RemoteAe("WORKLIST", "127.0.0.1", port))


def store(archive: Archive, paths: Sequence[Path], *, calling_ae_title: str = "US") -> None:
    """Put instances into it, by storescu."""
    argv = [require("storescu"), "-aet", calling_ae_title, "-aec", archive.remote.ae_title]
    subprocess.run(
        [*argv, "127.0.0.1", str(archive.remote.port), *map(str, paths)],
        check=True,
        timeout=60,
        capture_output=True,
    )


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
