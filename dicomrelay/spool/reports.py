"""Reports of storage commitment that we have answered for, as files, until the ledger has them (docs/design/verification.md)."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from dicomrelay.dimse.commitment import CommitmentReport
from dicomrelay.errors import SpoolCorrupt, SpoolError, SpoolFull
from dicomrelay.spool.free_space import FreeSpace
from dicomrelay.spool.operations import OperatingSystem, sync_path

# A peer that says the same for ever fills no disk; 8 MiB each at most, some 100 bytes an instance as a rule.
MAX_WAITING: Final = 10_000
MAX_BYTES: Final = 256 << 20
_SUFFIX, _PART = ".json", ".part"
_PART_LIVES_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class KeptReport:
    """A report, and who brought it.

    Attributes
    ----------
    received_at_ms : int
        Epoch milliseconds.
    """

    report: CommitmentReport
    calling_ae_title: str
    association_id: str
    received_at_ms: int


class ReportBox:
    """A folder of reports. For several threads and processes at once.

    Parameters
    ----------
    folder : Path
        `reports/` of the spool; made when first needed.
    min_free_bytes : int
        The low-water mark of the spool's disk: under it no report is kept. 0 for none.
    """

    def __init__(self, folder: Path, *, min_free_bytes: int = 0) -> None:
        self.folder = folder
        self._space = FreeSpace(folder, min_free_bytes)

    def put(self, kept: KeptReport) -> None:
        """Keep a report; it is durable when this returns.

        Raises
        ------
        SpoolFull
            `MAX_WAITING` lie here already.
        SpoolError
            It is not durable. Both messages name the folder.
        """
        raw = _encode(kept)
        name = f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(8)}"
        part = self.folder / (name + _PART)
        try:
            self._make()
            if sum(1 for _ in islice(self._names(), MAX_WAITING)) >= MAX_WAITING:
                raise SpoolFull(f"{self.folder}: {MAX_WAITING} reports wait for the workers already")
            if self._bytes() + len(raw) > MAX_BYTES:
                raise SpoolFull(
                    f"{self.folder}: more than {MAX_BYTES} bytes of reports would wait for the workers"
                )
            self._space.check(now=True)
            with part.open("xb") as file:
                file.write(raw)
                file.flush()
                OperatingSystem().sync_data(file.fileno())
            part.rename(self.folder / (name + _SUFFIX))
            sync_path(self.folder)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise SpoolError(f"{self.folder}: a report cannot be kept: {error.strerror}") from error

    def waiting(self) -> Iterator[str]:
        """The names of the reports that lie here, the oldest first."""
        yield from sorted(self._names())

    def is_empty(self) -> bool:
        """Whether there is none."""
        return next(self._names(), None) is None

    def read(self, name: str) -> KeptReport:
        """One report.

        Raises
        ------
        SpoolCorrupt
            The file is not as it was written.
        SpoolError
            It cannot be read now, or is gone: another worker took it.
        """
        path = self.folder / name
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise SpoolError(f"{path}: cannot be read: {error.strerror}") from error
        try:
            return _decode(raw)
        except (ValueError, KeyError, TypeError) as error:
            raise SpoolCorrupt(f"{path}: is not as it was written ({type(error).__name__})") from None

    def remove(self, name: str) -> None:
        """The ledger has it. Harmless when it is gone already."""
        (self.folder / name).unlink(missing_ok=True)

    def set_aside(self, name: str) -> None:
        """Put a file that is damaged into `corrupt/` of the spool."""
        corrupt = self.folder.parent / "corrupt"
        corrupt.mkdir(mode=0o700, exist_ok=True)
        with suppress(FileNotFoundError):  # another worker was faster
            (self.folder / name).replace(corrupt / f"report-{name}")

    def sweep(self, *, older_than_s: float = _PART_LIVES_S) -> int:
        """Remove what was never whole and nobody writes any more; how many files that were."""
        removed = 0
        for part in self.abandoned(older_than_s=older_than_s):
            part.unlink(missing_ok=True)
            removed += 1
        return removed

    def abandoned(self, *, older_than_s: float = _PART_LIVES_S) -> Iterator[Path]:
        """What was never whole and nobody writes any more."""
        for part in self.folder.glob(f"*{_PART}"):
            with suppress(FileNotFoundError):
                if time.time() - part.stat().st_mtime >= older_than_s:
                    yield part

    def _make(self) -> None:
        if not self.folder.is_dir():
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync_path(self.folder.parent)

    def _bytes(self) -> int:
        """What all files take, half-written ones too."""
        total = 0
        with os.scandir(self.folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # taken meanwhile
                    total += entry.stat().st_size
        return total

    def _names(self) -> Iterator[str]:
        try:
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    if entry.name.endswith(_SUFFIX):
                        yield entry.name
        except FileNotFoundError:
            return


def _encode(kept: KeptReport) -> bytes:
    report = {
        "transaction_uid": kept.report.transaction_uid,
        "committed": sorted(kept.report.committed),
        "failed": sorted(kept.report.failed.items()),
        "calling_ae_title": kept.calling_ae_title,
        "association_id": kept.association_id,
        "received_at_ms": kept.received_at_ms,
    }
    return (json.dumps({"sha256": _digest(report), "report": report}) + "\n").encode("ascii")


def _decode(raw: bytes) -> KeptReport:
    found = json.loads(raw)
    report = found["report"]
    if _digest(report) != found["sha256"]:
        raise ValueError
    return KeptReport(
        CommitmentReport(
            report["transaction_uid"],
            frozenset(report["committed"]),
            {uid: int(reason) for uid, reason in report["failed"]},
        ),
        report["calling_ae_title"],
        report["association_id"],
        int(report["received_at_ms"]),
    )


def _digest(report: dict[str, Any]) -> str:
    text = json.dumps(report, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()
