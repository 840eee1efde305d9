"""Who holds a lease: a process of one boot of one machine, so named that no other is ever taken for it.

The name is `host/boot/namespace/pid/start`: a pid is used again, also by a container whose processes count from 1, and
hosts share a name; the kernel's id of the boot, the inode of the PID namespace and the time at which the process was
started (proc_pid_stat(5), field 22) are never the same for two processes. Where the kernel does not say them, nobody can
tell whether the holder lives, and its lease ends by itself.
"""

from __future__ import annotations

import os
import socket
from functools import lru_cache
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_UNKNOWN: Final = "-"
# proc_pid_stat(5), counted from the field behind the name, which is the third.
_STATE, _THREADS, _START = 0, 17, 19
_OVER: Final = ("Z", "X")


def own_name() -> str:
    """The name of this process."""
    return _name_of(os.getpid())


@lru_cache(maxsize=1)  # of the last process that asked: a fork is another
def _name_of(pid: int) -> str:
    fields = _stat(pid) if _here() else None
    start = _UNKNOWN if fields is None else fields[_START]
    return f"{_here() or f'{socket.gethostname()}/{_UNKNOWN}/{_UNKNOWN}/'}{pid}/{start}"


def is_gone(name: str) -> bool:
    """Whether the process of that name was one of this very host and PID namespace, and lives no more.

    False in doubt: another host, another boot, another container, a name of another form, no `/proc`.
    """
    here = _here()
    if not here or not name.startswith(here):
        return False
    pid, _, start = name[len(here) :].partition("/")
    if not (pid.isdecimal() and start.isdecimal()):
        return False
    fields = _stat(int(pid))
    if fields is None:
        return _is_nobody(int(pid))  # a process that /proc hides from us lives all the same
    if fields[_START] != start:
        return True
    # Killed, and its parent has not asked yet. The first thread may end before the others do.
    return fields[_STATE] in _OVER and int(fields[_THREADS]) <= 1


def _here() -> str:
    """What the names of this host and PID namespace begin with; "" where that cannot be told."""
    try:
        # A /proc of another namespace tells of other processes.
        if (_PROC / "self").readlink().name != str(os.getpid()):
            return ""
        namespace = (_PROC / "self" / "ns" / "pid").stat().st_ino
        boot = (_PROC / "sys" / "kernel" / "random" / "boot_id").read_text("ascii").strip()
    except (OSError, ValueError):
        return ""
    return f"{socket.gethostname()}/{boot}/{namespace}/" if boot else ""


def _stat(pid: int) -> list[str] | None:
    """The fields of a process from its state on; None when there is nothing to read."""
    try:
        content = (_PROC / str(pid) / "stat").read_text("utf-8", "replace")
    except OSError:
        return None
    # The name in parentheses may hold anything.
    fields = content.rpartition(")")[2].split()
    return fields if len(fields) > _START else None


def _is_nobody(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False
