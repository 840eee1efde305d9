"""The listener processes: whatever happens to one, none is left behind."""

from __future__ import annotations

import errno
import multiprocessing
import os
import threading

import pytest

from dicomrelay.runtime import children
from dicomrelay.runtime.children import run_processes


def _serve(stopping: threading.Event) -> None:
    stopping.wait()


def _never_ready() -> None:
    pytest.fail("it is not ready")


def _fork_that_fails_at(call: int, patch: pytest.MonkeyPatch) -> None:
    """As it does when there is no room for another process."""
    really, calls = os.fork, [0]

    def fork() -> int:
        calls[0] += 1
        if calls[0] == call:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return really()

    patch.setattr(children.os, "fork", fork)


def _pipes(patch: pytest.MonkeyPatch) -> list[int]:
    """The descriptors of the pipe that `run_processes` makes."""
    made: list[int] = []
    really = os.pipe

    def pipe() -> tuple[int, int]:
        ends = really()
        made.extend(ends)
        return ends

    patch.setattr(children.os, "pipe", pipe)
    return made


def _is_closed(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return True
    return False


def test_a_child_that_cannot_be_begun_leaves_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first two stop by themselves, in good order: the pipe that they wait at is closed."""
    pipes = _pipes(monkeypatch)
    _fork_that_fails_at(3, monkeypatch)
    with pytest.raises(BlockingIOError):
        run_processes("gateway", 3, _serve, ready=_never_ready, stop=threading.Event(), grace_s=30)
    assert multiprocessing.active_children() == []
    assert all(_is_closed(fd) for fd in pipes[:2])


def test_a_ready_that_fails_stops_the_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is to be told may be gone."""
    pipes = _pipes(monkeypatch)

    def fail() -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        run_processes("gateway", 2, _serve, ready=fail, stop=threading.Event(), grace_s=30)
    assert multiprocessing.active_children() == []
    assert all(_is_closed(fd) for fd in pipes[:2])
