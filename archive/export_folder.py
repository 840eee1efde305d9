"""A folder as the target of an export: whole files under their names, never over others unless asked."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import stat
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Final

from archive.disk import Disk, digest_of, flush, new_file
from archive.export_values import ExportOutcome, NotExportable, taken_away
from archive.values import StoredInstance
from dicomrelay.errors import ArchiveError, ConfigurationError

_LEFTOVER: Final = re.compile(r"\.[0-9a-f]{32}\.part", re.ASCII)
# What all instances that follow would be told as well.
NO_MORE: Final = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EROFS,
        errno.EIO,
        errno.ENODEV,
        errno.ESTALE,
        errno.EMFILE,
        errno.ENFILE,
    }
)
# Folders with new names that are not flushed yet.
_MOST_UNFLUSHED: Final = 64
_MOST_ENTERED: Final = 1000


class FolderTarget:
    """A folder that is exported to, by several threads if need be. `close` it.

    Parameters
    ----------
    root : Path
        Made if need be, mode 0700.
    overwrite : bool
        A file of the same name and another data set gives way.

    Raises
    ------
    ConfigurationError
        It cannot be made, is no folder, or another export writes to it.
    """

    def __init__(self, root: Path, *, overwrite: bool = False, disk: Disk | None = None) -> None:
        self.path = root
        self._disk = disk or Disk()
        self._overwrite = overwrite
        self._lock = threading.Lock()  # of the three below
        self._unflushed: dict[Path, None] = {}
        self._entered: dict[Path, None] = {}
        self._own = secrets.token_hex(8)
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._real_root = os.path.realpath(root)
            self._descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise ConfigurationError(f"{root} cannot be exported to: {error.strerror}") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            raise ConfigurationError(f"{root}: another export writes to it; wait for its end") from None
        except OSError:
            pass  # a file system without locks

    def put(
        self,
        name: str,
        stored: StoredInstance,
        chunks: Iterable[bytes],
        *,
        when_ms: int = 0,  # noqa: ARG002 - of a ZIP file
    ) -> ExportOutcome:
        """Write one instance.

        Parameters
        ----------
        name : str
            Its path in the target, with slashes.
        chunks : iterable of bytes
            Of `export_source.file_bytes`: the file is named only when it came to its end.

        Raises
        ------
        NotExportable
            It does not leave, or cannot have that name.
        ArchiveError
            The target takes no more.
        """
        path = self._resolve(name)
        uid = stored.sop_instance_uid
        with self._refusals():
            self._enter(path.parent)
        there = self._there(path)
        if there is not None:
            if _is_same(path, there, stored):
                return ExportOutcome.ALREADY_THERE
            if not self._overwrite or stat.S_ISDIR(there.st_mode):
                raise NotExportable(
                    f"the target has something else under the name of {uid}", outcome=ExportOutcome.EXISTS
                )
        self._write(path, chunks, over=there is not None, what=uid)
        return ExportOutcome.EXPORTED

    def written(self, name: str, stored: StoredInstance) -> tuple[Path, int] | None:
        """The file of an instance that is in the target, and where its data set begins, in bytes. Raises ArchiveError."""
        path = self._resolve(name)
        try:
            return path, path.stat().st_size - stored.data_set_bytes
        except OSError as error:
            raise taken_away(name, error) from None

    def put_file(self, name: str, chunks: Iterable[bytes], *, size: int) -> None:  # noqa: ARG002 - of a ZIP file
        """Write a file that is no instance. Raises ArchiveError."""
        path = self._resolve(name)
        with self._refusals():
            self._enter(path.parent)
        self._write(path, chunks, over=self._overwrite, what=name)

    def has(self, name: str) -> bool:
        """Whether there is something of that name."""
        return os.path.lexists(self._resolve(name))

    def finish(self) -> None:
        """Make every name durable. Raises ArchiveError."""
        with self._refusals(), self._lock:
            self._flush()

    def close(self) -> None:
        """Let go of the folder; what is in it stays."""
        os.close(self._descriptor)

    def _resolve(self, name: str) -> Path:
        """The path of a name of ours, checked to lie under the target after symbolic links."""
        parts = PurePosixPath(name).parts
        path = self.path.joinpath(*parts)
        is_bad = not parts or parts[0] == "/" or ".." in parts or "\0" in name
        real = os.path.realpath(path.parent) if not is_bad else ""
        if is_bad or os.path.commonpath((self._real_root, real)) != self._real_root:
            raise NotExportable(
                f"{parts[-1] if parts else name!r} would lie outside of the target; is a folder of it a symbolic link?",
                outcome=ExportOutcome.FAILED,
            )
        return path

    @staticmethod
    def _there(path: Path) -> os.stat_result | None:
        """What has the name already; a symbolic link itself, and not what it leads to."""
        try:
            return path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _enter(self, folder: Path) -> None:
        """Make the folder and those above it, and take away what an export that was killed left in it."""
        with self._lock:
            if folder in self._entered:
                return
            if len(self._unflushed) > _MOST_UNFLUSHED:
                self._flush()
            if len(self._entered) > _MOST_ENTERED:
                self._entered.clear()
            missing = []
            there = folder
            while not there.is_dir():
                missing.append(there)
                there = there.parent
            for path in reversed(missing):
                self._disk.make_directory(path)
                self._unflushed[path.parent] = None
            if not missing:
                for name in os.listdir(folder):
                    if _LEFTOVER.fullmatch(name) and not name.startswith(f".{self._own}"):
                        self._disk.remove(folder / name)
            self._entered[folder] = None

    def _write(self, path: Path, chunks: Iterable[bytes], *, over: bool, what: str) -> None:
        temporary = path.with_name(f".{self._own}{secrets.token_hex(8)}.part")
        try:
            with self._refusals():
                with new_file(temporary, buffering=0) as file:
                    for chunk in chunks:
                        _write_all(file.fileno(), chunk)
                    flush(file.fileno())
                if over:
                    self._disk.replace(temporary, path)
                else:
                    self._publish(temporary, path, what)
        except BaseException:
            self._disk.remove(temporary)
            raise
        with self._lock:
            self._unflushed[path.parent] = None

    def _publish(self, temporary: Path, path: Path, what: str) -> None:
        try:
            self._disk.publish(temporary, path)
        except FileExistsError:
            raise NotExportable(
                f"the target has something else under the name of {what}", outcome=ExportOutcome.EXISTS
            ) from None

    def _flush(self) -> None:
        for folder in sorted(self._unflushed, key=lambda each: len(each.parts), reverse=True):
            self._disk.sync_directory(folder)
        self._unflushed.clear()

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        """What the target's file system says, in words, without the path: it holds the patient id."""
        try:
            yield
        except OSError as error:
            why = error.strerror or type(error).__name__
            if error.errno not in NO_MORE:
                raise NotExportable(f"the target refused it: {why}", outcome=ExportOutcome.FAILED) from None
            raise ArchiveError(
                f"{self.path} takes no more: {why}. Run the export again when it does: it goes on where it ended"
            ) from None


def _is_same(path: Path, there: os.stat_result, stored: StoredInstance) -> bool:
    """Whether a file holds the data set: it is its tail, behind whatever file meta."""
    offset = there.st_size - stored.data_set_bytes
    if not stat.S_ISREG(there.st_mode) or offset < 0:
        return False
    try:
        return digest_of(path, offset=offset) == stored.digest
    except OSError:
        return False


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
