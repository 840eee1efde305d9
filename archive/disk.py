"""The operations on the file system that the promise rests on, one method each, so that a test can fail any of them."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import sys
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from dicomrelay.spool.operations import OperatingSystem, sync_path

CHUNK_BYTES: Final = 1024 * 1024
# The file system cannot link here (another device, too many links, not allowed): a copy can do it.
_NO_LINK: Final = frozenset(
    {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EACCES, errno.ENOSYS}
)


# From so many files on, the file system is flushed and not each of them. Linux alone promises to tell what went wrong.
_MANY: Final = 8
_SYNCFS: Final = (
    getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None) if sys.platform == "linux" else None
)


# Linux 3.15, glibc 2.28: rename, and fail where there is something. Some file systems do not know it.
_RENAMEAT2: Final = (
    getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if sys.platform == "linux" else None
)
_HERE: Final = -100
_NO_REPLACE: Final = 1
_UNKNOWN: Final = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP})


@dataclass(slots=True)
class Draft:
    """A copy that is written and neither flushed nor under its name; its descriptor is open.

    Attributes
    ----------
    digest : str
        SHA-256 of the source's bytes from where it was asked for, in hexadecimal.
    """

    descriptor: int
    size_bytes: int
    digest: str

    def abandon(self) -> None:
        """Give the descriptor back."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class Disk:
    """Durable operations on files and folders."""

    def make_directory(self, path: Path) -> None:
        """Make one folder; one that is there is fine."""
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)

    def sync_directory(self, path: Path) -> None:
        """Make the names in a folder durable."""
        sync_path(path)

    def link(self, source: Path, target: Path) -> bool:
        """Give a file a second name; False where the file system cannot. Raises FileExistsError."""
        try:
            os.link(source, target)
        except OSError as error:
            if error.errno in _NO_LINK:
                return False
            raise
        return True

    def publish(self, temporary: Path, target: Path) -> None:
        """Give a finished file its name, never over another one. Raises FileExistsError."""
        if self.link(temporary, target):
            temporary.unlink()
        else:
            _rename_where_free(temporary, target)

    def replace(self, temporary: Path, target: Path) -> None:
        """Give a finished file its name, over an older one."""
        temporary.replace(target)

    def draft(self, source: Path, target: Path, *, preface: bytes, digest_from: int) -> Draft:
        """Copy a file, whole or its data set behind a new preface; it is to be flushed yet.

        Parameters
        ----------
        preface : bytes
            When not empty, it takes the place of what is in front of `digest_from`.
        digest_from : int
            From which byte of the source the digest is taken.
        """
        digest = hashlib.sha256()
        written = len(preface)
        with source.open("rb", buffering=0) as reader:
            descriptor = _private(str(target), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC)
            try:
                _write_all(descriptor, preface)
                position = reader.seek(digest_from if preface else 0)
                while chunk := reader.read(CHUNK_BYTES):
                    digest.update(memoryview(chunk)[max(0, digest_from - position) :])
                    position += len(chunk)
                    written += len(chunk)
                    _write_all(descriptor, chunk)
            except BaseException:
                os.close(descriptor)
                raise
        return Draft(descriptor, written, digest.hexdigest())

    def flush(self, draft: Draft) -> None:
        """Make the bytes of a copy durable."""
        try:
            flush(draft.descriptor)
        finally:
            draft.abandon()

    def flush_all(self, drafts: Sequence[Draft]) -> dict[int, OSError]:
        """Make the bytes of copies durable; what went wrong, by their place.

        Many are flushed at once with their file system: one flush of its journal and one of the drive, where each file would
        ask for its own. Their descriptors know of every error since they were opened.
        """
        if len(drafts) >= _MANY and _SYNCFS is not None:
            failure = _sync_file_system(drafts[0].descriptor)
            for draft in drafts:
                draft.abandon()
            return {} if failure is None else dict.fromkeys(range(len(drafts)), failure)
        failed: dict[int, OSError] = {}
        for number, draft in enumerate(drafts):
            try:
                self.flush(draft)
            except OSError as error:
                draft.abandon()
                failed[number] = error
        return failed

    def write(self, target: Path, data: bytes) -> None:
        """Write a new file and flush it."""
        with new_file(target, buffering=0) as writer:
            _write_all(writer.fileno(), data)
            flush(writer.fileno())

    def remove(self, path: Path) -> None:
        """Remove a file; one that is gone is fine."""
        path.unlink(missing_ok=True)


def new_file(path: Path, *, buffering: int = -1) -> BinaryIO:
    """A new file to write, for our user only. Raises FileExistsError."""
    return open(path, "xb", buffering=buffering, opener=_private)


def flush(descriptor: int) -> None:
    """Make the bytes of a file durable, also in the drive's cache."""
    OperatingSystem().sync_data(descriptor)


def _sync_file_system(descriptor: int) -> OSError | None:
    """Flush the file system of a descriptor; the error since it was opened (Linux 5.8)."""
    if _SYNCFS is None or _SYNCFS(descriptor) == 0:
        return None
    code = ctypes.get_errno()
    return OSError(code, os.strerror(code))


def _rename_where_free(source: Path, target: Path) -> None:
    """Rename, never over something. Raises FileExistsError."""
    if _RENAMEAT2 is not None:
        names = os.fsencode(source), os.fsencode(target)
        if _RENAMEAT2(_HERE, names[0], _HERE, names[1], _NO_REPLACE) == 0:
            return
        code = ctypes.get_errno()
        if code not in _UNKNOWN:
            raise OSError(code, os.strerror(code), str(source), None, str(target))
    # The name is taken by an empty file: of two who want it one gets it. A crash here leaves that, which holds other bytes
    # than anybody's; nobody reads it before there is a row.
    os.close(_private(str(target), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC))
    source.replace(target)


def temporary_name(target: Path) -> Path:
    """A name beside the target that no reader looks at: hidden, unique, `.part` at its end."""
    return target.with_name(f".{uuid.uuid4().hex}.part")


def digest_of(path: Path, *, offset: int) -> str:
    """SHA-256 of a file's bytes from `offset` on, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as reader:
        reader.seek(offset)
        while chunk := reader.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
