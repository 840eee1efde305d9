"""A ZIP file as the target of an export: under another name until it is whole."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from archive.disk import Disk, flush
from archive.export_folder import NO_MORE
from archive.export_values import ExportOutcome
from archive.values import StoredInstance
from archive.zip_writer import ZipWriter
from dicomrelay.dicom.transfer_syntaxes import transfer_syntax
from dicomrelay.errors import ArchiveError, ConfigurationError

# File meta that may be written anew is longer by no more.
_META_BYTES = 4096
_TURNS = 5


class ZipTarget:
    """A ZIP file that is exported to. `close` it; without `finish` nothing is left.

    Parameters
    ----------
    path : Path
        Its folder must be there.
    overwrite : bool
        A file of that name gives way, when the new one is whole.

    Raises
    ------
    ConfigurationError
        There is something of that name, it cannot be made, or another export makes it.
    """

    def __init__(self, path: Path, *, overwrite: bool = False, disk: Disk | None = None) -> None:
        self.path = path
        self._disk = disk or Disk()
        self._overwrite = overwrite
        if os.path.lexists(path) and (not overwrite or not path.is_file()):
            raise ConfigurationError(f"{path} exists: choose another name, or --overwrite it")
        self._part = path.with_name(f".{path.name}.part")
        descriptor = self._own_part()
        self._file = open(descriptor, "r+b")  # noqa: SIM115 - closed by `close`
        os.fchmod(descriptor, 0o600)
        self._file.truncate()  # what an export that was killed left
        self._writer = ZipWriter(self._file)
        self._is_done = False

    def _own_part(self) -> int:
        """The file that is written, locked. Whoever had the lock before may have given it its name, or removed it."""
        for _ in range(_TURNS):
            try:
                descriptor = os.open(self._part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            except OSError as error:
                raise ConfigurationError(f"{self.path} cannot be made: {error.strerror}") from error
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                raise ConfigurationError(f"{self.path}: another export makes it; wait for its end") from None
            except OSError:
                pass  # a file system without locks
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), os.lstat(self._part)):
                    return descriptor
            os.close(descriptor)
        raise ConfigurationError(f"{self.path}: others export to it all the time; wait for their end")

    def put(
        self, name: str, stored: StoredInstance, chunks: Iterable[bytes], *, when_ms: int = 0
    ) -> ExportOutcome:
        """Write one instance.

        Parameters
        ----------
        name : str
            Its path, with slashes.
        chunks : iterable of bytes
            Of `export_source.file_bytes`: what came is cut off again when it raises.
        when_ms : int
            When it was stored, in ms since the epoch.

        Raises
        ------
        NotExportable
            It does not leave.
        ArchiveError
            The disk takes no more.
        """
        with self._refusals():
            self._writer.add(
                name,
                chunks,
                size=stored.file_bytes + _META_BYTES,
                modified_s=when_ms / 1000,
                deflate=not transfer_syntax(stored.transfer_syntax_uid).is_encapsulated,
            )
        return ExportOutcome.EXPORTED

    def written(self, name: str, stored: StoredInstance) -> tuple[Path, int] | None:  # noqa: ARG002 - of a folder
        """None: what is in a ZIP file cannot be read as a file."""
        return None

    def put_file(self, name: str, chunks: Iterable[bytes], *, size: int, when_ms: int = 0) -> None:
        """Write a file that is no instance. Raises ArchiveError."""
        with self._refusals():
            self._writer.add(name, chunks, size=size, modified_s=when_ms / 1000)

    def finish(self) -> None:
        """Write its directory, flush it, and give it its name. Raises ArchiveError."""
        with self._refusals():
            self._writer.finish()
            flush(self._file.fileno())
            if self._overwrite:
                self._disk.replace(self._part, self.path)
            else:
                self._publish()
            self._is_done = True
            self._disk.sync_directory(self.path.parent)

    def _publish(self) -> None:
        try:
            self._disk.publish(self._part, self.path)
        except FileExistsError:
            raise ArchiveError(
                f"{self.path} was made by somebody else meanwhile; it was left alone"
            ) from None

    def close(self) -> None:
        """Let go of it, and remove it when it is not whole."""
        with suppress(OSError), self._writer:  # of a full disk, what was not written yet
            if not self._is_done:
                self._disk.remove(self._part)
            self._file.close()

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            why = error.strerror or type(error).__name__
            more = ": make room and export again" if error.errno in NO_MORE else ""
            raise ArchiveError(f"{self.path} cannot be written: {why}{more}") from None
