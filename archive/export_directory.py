"""The DICOMDIR of an export, in a temporary file until all its instances are in the target."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from archive.dicomdir import DirectoryWriter
from archive.directory_records import Records
from archive.disk import CHUNK_BYTES
from archive.outline import OutlinedInstance
from dicomrelay.errors import ArchiveError


class ExportDirectory:
    """A DICOMDIR in the making, in a temporary file. A context manager; records without a patient are held in memory."""

    def __init__(self) -> None:
        self._file: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        # PS3.5 Section B.2
        self._writer = DirectoryWriter(self._file, file_set_uid=f"2.25.{uuid.uuid4().int}")
        self._records = Records()
        # Records without a patient stand behind all patients: among them they would end one.
        self._at_root: list[bytes] = []
        self.made_up = 0

    def add(self, instance: OutlinedInstance, source: Path, offset: int, name: str) -> None:
        """Add the records of an instance.

        Parameters
        ----------
        source : Path
            A file of it; its data set begins at `offset`, in bytes.
        name : str
            Its path in the target, with slashes.

        Raises
        ------
        ArchiveError
            The temporary folder is full.
        """
        with _temporary():
            for record in self._records.of(instance, source, offset, name.split("/")):
                self.made_up += record.made_up
                if record.is_alone:
                    self._at_root.append(record.elements)
                else:
                    self._writer.add(record.level, record.elements)

    def finish(self) -> int:
        """Write its end, and return its size in bytes. Raises as `add`."""
        with _temporary():
            for elements in self._at_root:
                self._writer.add(0, elements)
            return self._writer.finish()

    def chunks(self) -> Iterator[bytes]:
        """All of it, piece by piece."""
        self._file.seek(0)
        while chunk := self._file.read(CHUNK_BYTES):
            yield chunk

    def __enter__(self) -> ExportDirectory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # of a full disk, what was not written yet
            self._file.close()


@contextmanager
def _temporary() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ArchiveError(
            f"the temporary folder cannot be used ({error.strerror}): make room there, or name another one in TMPDIR"
        ) from error
