"""Small instances to write archives with, writers that are killed at a step, and what must be true afterwards."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from sqlalchemy import Engine, event

from archive import Archive, StoreRequest
from archive.checking import CheckLevel, Fault, check
from archive.disk import Disk, Draft, digest_of
from archive.index.counters import verify_counters
from tests.support.archive import request_for

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
STUDY = "1.2.826.0.1.3680043.10.7.1"
_ROOM_BYTES = 32 << 20


def write_instance(
    folder: Path,
    number: int = 1,
    *,
    fill: int = 1,
    study: str = STUDY,
    patient_id: str = "P1",
    series: int = 1,
) -> Path:
    """A small CT instance; `fill` makes other bytes under the same UID."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = CT, f"{study}.{series}.{number}"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study, f"{study}.{series}"
    ds.PatientID, ds.PatientName, ds.StudyDate, ds.Modality = patient_id, "DOE^JOHN", "20260102", "CT"
    ds.SeriesNumber, ds.InstanceNumber = series, number
    ds.Rows = ds.Columns = 16
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit, ds.PixelRepresentation, ds.SamplesPerPixel = 15, 0, 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.PixelData = bytes([fill]) * 512
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = EXPLICIT
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{study[-9:]}.{series}.{number}-{fill}-{patient_id}.dcm"
    dcmwrite(path, ds, enforce_file_format=True)
    return path


def instance(folder: Path, number: int = 1, **changes: object) -> StoreRequest:
    """The request to store one."""
    return request_for(write_instance(folder, number, **changes))  # type: ignore[arg-type]


class KilledAt(Disk):
    """Kills this process at the k-th step: before it, or in the middle of writing a file. Commits of the index are steps too.

    Parameters
    ----------
    at : int
        Counted from 1; 0 for none.
    on : str
        Its name, the first of them.
    torn : bool
        When the step writes a file, half of it is written.
    """

    def __init__(self, at: int = 0, *, on: str = "", torn: bool = False) -> None:
        self.steps: list[str] = []
        self._at, self._on, self._torn = at, on, torn

    def watch(self, archive: Archive) -> Archive:
        """Put it under an archive: its files and its transactions."""
        archive.disk = self
        event.listen(archive._database._engine, "commit", lambda _: self.step("commit"))
        return archive

    def watch_all(self) -> None:
        """Count the commits of every database of this process."""
        event.listen(Engine, "commit", lambda _: self.step("commit"))

    def step(self, name: str, torn: Callable[[], object] | None = None) -> None:
        """One step is about to be made."""
        self.steps.append(name)
        if len(self.steps) == self._at or name == self._on:
            if self._torn and torn is not None:
                torn()
            os.kill(os.getpid(), signal.SIGKILL)

    def make_directory(self, path: Path) -> None:
        self.step("make_directory")
        super().make_directory(path)

    def sync_directory(self, path: Path) -> None:
        self.step("sync_directory")
        super().sync_directory(path)

    def link(self, source: Path, target: Path) -> bool:
        self.step("link")
        return super().link(source, target)

    def replace(self, temporary: Path, target: Path) -> None:
        self.step("replace")
        super().replace(temporary, target)

    def draft(self, source: Path, target: Path, *, preface: bytes, digest_from: int) -> Draft:
        data = source.read_bytes()
        self.step("draft", lambda: target.write_bytes(data[: len(data) // 2]))
        return super().draft(source, target, preface=preface, digest_from=digest_from)

    def flush(self, draft: Draft) -> None:
        self.step("flush")
        super().flush(draft)

    def write(self, target: Path, data: bytes) -> None:
        self.step("write", lambda: target.write_bytes(data[: len(data) // 2]))
        super().write(target, data)

    def remove(self, path: Path) -> None:
        self.step("remove")
        super().remove(path)


def killed(work: Callable[[], object]) -> bool:
    """Do work in a child; whether it was killed there. It must not come back by an error."""
    pid = os.fork()
    if pid == 0:
        code = 3
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the child failed"
    return os.WIFSIGNALED(status)


def faults(archive: Archive) -> list[tuple[Fault, str]]:
    """What the archive's own check finds, as closely as it can look; files without rows are told as if they were old."""
    found = check(archive, set(CheckLevel), now_s=4e9)
    return [(finding.fault, finding.about) for finding in found]


def check_whole(archive: Archive, *, orphans: bool = False) -> None:
    """Every row has its file with its bytes, and counters are right; no changes are open.

    Parameters
    ----------
    orphans : bool
        Files without a row, and temporary ones, may be there: what a store leaves that was killed.
    """
    allowed = {Fault.ORPHAN, Fault.LEFTOVER} if orphans else set()
    assert [found for found in faults(archive) if found[0] not in allowed] == []
    assert archive.writing_tools.changes.open_changes() == []
    with archive._database.read() as work:
        assert verify_counters(work) == []


def held_digest(archive: Archive, request: StoreRequest) -> str:
    """The digest of what is really under the UID of a request; "" when the index does not know it."""
    found = archive.writing_tools.changes.held(request.sop_instance_uid)
    if found is None:
        return ""
    digest = digest_of(archive.path_of(found), offset=found.data_set_offset)
    assert digest == found.digest
    return digest


def aside_digests(archive: Archive) -> set[str]:
    """Digests of what lies under conflicts/, each of which is really what its name says."""
    found = set()
    for path in (archive.layout.root / "conflicts").rglob("*.dcm"):
        digest = digest_of(path, offset=request_for(path).data_set_offset)
        assert path.stem == digest
        found.add(digest)
    return found


@contextmanager
def in_memory(folder: Path) -> Iterator[Path]:
    """A folder in memory where there is room, else the one that is given.

    What kill -9 leaves does not depend on the disk, whose flushes take most of the time of a test of every step.
    """
    memory = Path("/dev/shm")
    if not memory.is_dir() or shutil.disk_usage(memory).free < _ROOM_BYTES:
        yield folder
        return
    with TemporaryDirectory(dir=memory, prefix="dicomrelay-test-") as made:
        yield Path(made)
