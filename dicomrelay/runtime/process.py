"""Starting processes whose life is tied to ours."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

_PR_SET_PDEATHSIG = 1


def _die_with_parent(parent: int) -> Callable[[], None] | None:
    """What the child runs before it becomes its program: ask the kernel to be told when the parent dies.

    Only Linux has it; elsewhere a parent that is killed leaves its children behind, and the lock of the home
    keeps a second set from starting beside them.
    """
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)

    def in_child() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before we could ask
            os._exit(1)

    return in_child


def start(
    argv: Sequence[str],
    *,
    output: IO[bytes],
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program in a process group of its own, so that Ctrl-C reaches only us, and with our death as its end.

    Call it from the main thread: the kernel means the thread that forked when it says parent.
    """
    return subprocess.Popen(
        list(argv),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env={**os.environ, **(environment or {})},
        cwd=folder,
        start_new_session=True,
        preexec_fn=_die_with_parent(os.getpid()),  # noqa: PLW1509 - we fork from a single thread
    )


def stand_back(niceness: int) -> None:
    """Let others go first where there is too little CPU for all: this process, and those that it starts.

    Linux weighs sessions before it weighs processes (sched(7), autogroup), and each of our services is a session: it is told too.
    """
    if niceness:
        os.nice(niceness)
        with suppress(OSError):  # no such kernel, or one that does not weigh sessions
            Path("/proc/self/autogroup").write_text(str(niceness), "ascii")


def stop(process: subprocess.Popen[bytes], *, grace_s: float) -> bool:
    """Ask it to end, and end it after `grace_s` seconds; whether it ended by itself."""
    if process.poll() is None:
        process.terminate()
    return wait(process, grace_s=grace_s)


def wait(process: subprocess.Popen[bytes], *, grace_s: float) -> bool:
    """Wait for one that was asked to end already: a second signal would cut its clean end short."""
    try:
        process.wait(grace_s)
    except subprocess.TimeoutExpired:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            process.kill()
        process.wait()
        return False
    return True
