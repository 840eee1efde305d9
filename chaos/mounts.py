"""File systems of our own, to be cut off or filled: an ext4 in a file, a tmpfs. They want root."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

# ioctl of ext4, XFS and f2fs: _IOR('X', 125, __u32); the flag: do not even write the journal.
_EXT4_IOC_SHUTDOWN: Final = 0x8004587D
_NO_LOG_FLUSH: Final = 2
_UNMOUNTED_WITHIN_S: Final = 20.0
_PREFIX: Final = "chaos-disk-"
_PIECE_BYTES: Final = 8 << 20


def missing_root() -> str:
    """Why nothing can be mounted here; "" when it can."""
    if os.geteuid() != 0:
        return "needs root, to mount a file system of its own"
    return ""


def missing_loop() -> str:
    """Why there can be no power cut here; "" when there can."""
    if why := missing_root():
        return why
    if not Path("/dev/loop-control").exists():
        return "there is no loop device (/dev/loop-control)"
    if not shutil.which("mkfs.ext4"):
        return "mkfs.ext4 is not installed"
    return ""


class Mounted:
    """A file system that is mounted while the context lasts.

    Parameters
    ----------
    folder : Path
        The mount point is made in it.
    """

    def __init__(self, folder: Path) -> None:
        _clear_away_what_the_dead_left()
        self.root = folder / f"{_PREFIX}{os.getpid()}"
        self.root.mkdir(parents=True)

    def mount(self) -> None:
        """Mount it."""
        raise NotImplementedError

    def unmount(self) -> None:
        """Unmount it, as soon as nobody holds it any more.

        Raises
        ------
        TimeoutError
            Somebody does.
        """
        deadline = time.monotonic() + _UNMOUNTED_WITHIN_S
        while subprocess.run(["umount", self.root], capture_output=True, check=False).returncode:
            if not os.path.ismount(self.root):
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.root}: somebody holds it, it cannot be unmounted")
            time.sleep(0.05)

    def __enter__(self) -> Self:
        self.mount()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.unmount()
        self.root.rmdir()


class LoopDisk(Mounted):
    """An ext4 in a sparse file, whose power can be cut.

    Parameters
    ----------
    size_bytes : int
        At least 16 MiB.
    """

    def __init__(self, folder: Path, size_bytes: int) -> None:
        super().__init__(folder)
        self._image = folder / "disk.img"
        with self._image.open("xb") as file:
            file.truncate(size_bytes)
        # No lazy initialisation: it would write behind our back.
        subprocess.run(
            ["mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", self._image], check=True
        )

    def mount(self) -> None:
        """Mount it; after a cut its journal is replayed."""
        subprocess.run(["mount", "-o", "loop", self._image, self.root], check=True)

    def flush(self) -> None:
        """What was written by us, the settings, is on the disk."""
        subprocess.run(["sync", "-f", self.root], check=True)

    def cut(self) -> None:
        """The power goes: what was not flushed is gone, and every later write fails until it is mounted again."""
        descriptor = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(descriptor, _EXT4_IOC_SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(descriptor)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self._image.unlink()


class SmallDisk(Mounted):
    """A tmpfs of a few megabytes, to be filled."""

    def __init__(self, folder: Path, size_bytes: int) -> None:
        super().__init__(folder)
        self._size_bytes = size_bytes

    def mount(self) -> None:
        """Mount it, empty."""
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={self._size_bytes}", "chaos", self.root], check=True
        )

    def fill(self, *, leave_bytes: int = 0) -> Path:
        """Write a file that leaves so much free, of 4 KiB blocks; the file, to be removed."""
        ballast = self.root / "ballast"
        written = 0
        with ballast.open("wb") as file, suppress(OSError):  # others write too, and fill the rest
            while (free := self.free_bytes() - leave_bytes) > 0:
                piece = min(free, _PIECE_BYTES) & ~4095 or 4096
                os.posix_fallocate(file.fileno(), written, piece)
                written += piece
        return ballast

    def free_bytes(self) -> int:
        """What is free now."""
        state = os.statvfs(self.root)
        return state.f_bavail * state.f_frsize


def _clear_away_what_the_dead_left() -> None:
    for line in Path("/proc/mounts").read_text("utf-8").splitlines():
        path = Path(line.split(" ")[1])
        maker = path.name.removeprefix(_PREFIX)
        if path.name.startswith(_PREFIX) and maker.isdigit() and not Path(f"/proc/{maker}").exists():
            subprocess.run(["umount", path], capture_output=True, check=False)
