"""Makes copies for a batch: a folder that is ours alone, and a child process that does the work."""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import secrets
import select
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from errno import ENOSPC
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Final

from dicomrelay.errors import NotTranscodable
from dicomrelay.transcode.values import Copy, Source, TranscodeLimits

_TICK_S: Final = 1.0
_GRACE_S: Final = 2.0
# A copy may lie beside an intermediate form of itself.
_FILES_AT_ONCE: Final = 2
# Ours is one short line; whatever is longer is no answer.
_LINE_BYTES: Final = 65_536
# What an interpreter, its libraries and temporary files need.
_KEPT: Final = frozenset({"PATH", "LANG", "LANGUAGE", "TZ", "TMPDIR", "LD_LIBRARY_PATH"})
_KEPT_PREFIXES: Final = ("LC_", "PYTHON")
_ONE_THREAD: Final = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class Workshop:
    """Copies of instances in other transfer syntaxes. Not for several threads at once.

    As a context manager it ends the child and removes the folder, whatever happened. What a process leaves behind
    that is killed, the next workshop in the same place removes.

    Parameters
    ----------
    place : Path
        Where the folder is made; made itself when it is missing.
    limits : TranscodeLimits
    """

    def __init__(self, place: Path, limits: TranscodeLimits | None = None) -> None:
        self._place = place
        self._limits = limits or TranscodeLimits()
        self._child: _Child | None = None
        self._folder: Path | None = None
        self._lock = -1
        self._names = itertools.count()

    def copy(
        self, source: Source, transfer_syntax_uid: str, *, waiting: Callable[[], None] = lambda: None
    ) -> Copy:
        """Make a copy; `discard` it when it was sent.

        Parameters
        ----------
        waiting : callable
            Called about once a second.

        Raises
        ------
        NotTranscodable
            It cannot be done without loss or within the limits, or the decoder died over it.
        OSError
            A file cannot be read, or there is no room for the copy.
        """
        path = self._ready() / f"{next(self._names)}.dcm"
        if self._child is None:
            self._child = _Child(self._limits)
        seconds = self._limits.seconds + source.length * 10 / self._limits.bytes_per_second
        asked = {
            "source": str(source.path),
            "offset": source.offset,
            "length": source.length,
            "from": source.transfer_syntax_uid,
            "to": transfer_syntax_uid,
            "copy": str(path),
            "most": self._room(),
        }
        made = False
        try:
            answer = self._child.ask(asked, seconds, waiting)
            made = "digest" in answer
        except BaseException:
            self._child.end()
            self._child = None
            raise
        finally:
            if not made:
                self._remove(path)
        if "refused" in answer:
            raise NotTranscodable(answer["refused"])
        if "words" in answer:
            raise OSError(answer["errno"], answer["words"])
        return Copy(path, answer["length"], answer["digest"], transfer_syntax_uid)

    def discard(self, copy: Copy) -> None:
        """Remove a copy; one that cannot be removed now goes with the folder."""
        self._remove(copy.path)

    def close(self) -> None:
        """End the child, and remove what is left."""
        if self._child is not None:
            self._child.end()
            self._child = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            os.close(self._lock)
            self._folder = None

    def __enter__(self) -> Workshop:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ready(self) -> Path:
        """Our folder, made when it is first needed, and again when somebody removed it; dead ones of others go then."""
        if self._folder is not None and os.fstat(self._lock).st_nlink == 0:
            os.close(self._lock)
            self._folder = None
        if self._folder is None:
            self._place.mkdir(mode=0o700, parents=True, exist_ok=True)
            sweep(self._place)
            folder, lock = None, -1
            while lock < 0:  # another's sweep may take it away before it is locked
                folder = self._place / f"{os.getpid()}-{secrets.token_hex(4)}"
                folder.mkdir(mode=0o700)
                lock = _locked(folder)
            self._folder, self._lock = folder, lock
        assert self._folder is not None  # noqa: S101 - for the type checker
        return self._folder

    def _room(self) -> int:
        """Bytes that one file may have."""
        free = shutil.disk_usage(self._place).free - self._limits.min_free_bytes
        if free <= 0:
            raise OSError(ENOSPC, "no room for a copy")
        return min(free // _FILES_AT_ONCE, self._limits.max_bytes)

    @staticmethod
    def _remove(path: Path) -> None:
        for each in (path, path.with_suffix(".plain"), path.with_suffix(".inflated")):
            with suppress(OSError):  # the folder goes at the end, or the next sweep takes it
                each.unlink(missing_ok=True)


def sweep(place: Path) -> int:
    """Remove what dead processes left behind; how many folders."""
    count = 0
    with suppress(OSError):  # not there, or not ours: a later one tries again
        for folder in place.iterdir():
            lock = _locked(folder)
            if lock >= 0:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)
                count += 1
    return count


def _locked(folder: Path) -> int:
    """A descriptor that holds the lock of a folder; -1 when another process holds it, or it is gone."""
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return -1
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if folder.stat().st_ino == os.fstat(lock).st_ino:
            return lock
    except OSError:
        pass
    os.close(lock)
    return -1


class _Child:
    """The process, and the lines to and from it."""

    def __init__(self, limits: TranscodeLimits) -> None:
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "dicomrelay.transcode.child",
                str(os.getpid()),
                json.dumps(asdict(limits)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(),
        )

    def ask(self, asked: dict[str, Any], seconds: float, waiting: Callable[[], None]) -> dict[str, Any]:
        """Send a line and wait for the answer.

        Raises
        ------
        NotTranscodable
            It died, or it takes too long.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None  # noqa: S101, PT018 - for the type checker
        deadline = monotonic() + seconds
        try:
            stdin.write(json.dumps(asked).encode("ascii") + b"\n")
            stdin.flush()
        except BrokenPipeError:
            raise self._died() from None
        poll = select.poll()  # select() takes no descriptor above 1023
        poll.register(stdout, select.POLLIN)
        line = b""
        while not line.endswith(b"\n"):
            if poll.poll(_TICK_S * 1000):
                part = os.read(stdout.fileno(), _LINE_BYTES)
                if not part or len(line) + len(part) > _LINE_BYTES:
                    raise self._died()
                line += part
                continue
            waiting()
            if monotonic() > deadline:
                raise NotTranscodable(f"the decoder was not done within {seconds:.0f} s")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _died(self) -> NotTranscodable:
        try:
            code = self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:  # whoever asked kills it
            return NotTranscodable("the decoder gave no answer")
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return NotTranscodable(f"the decoder died over it ({how})")

    def end(self) -> None:
        """Kill it: it has nothing to lose."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()


def _environment() -> dict[str, str]:
    """What it needs of ours, and nothing else: the child reads strangers' bytes, and a secret may have any name."""
    kept = {
        name: value for name, value in os.environ.items() if name in _KEPT or name.startswith(_KEPT_PREFIXES)
    }
    return {**kept, **_ONE_THREAD}
