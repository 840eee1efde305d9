"""Several processes on one listening socket: the parent binds it, its children inherit it (docs/design/gateway.md)."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from typing import Final

from dicomrelay.log import get_logger

_LOOK_EVERY_S: Final = 0.2
_RESTART_AFTER_S: Final = 1.0


def run_processes(
    name: str,
    count: int,
    serve: Callable[[threading.Event], None],
    *,
    ready: Callable[[], None],
    stop: threading.Event,
    grace_s: float,
) -> None:
    """Keep `count` children at work until `stop` is set.

    The children hold one end of a pipe whose other end only the parent has: when it closes, in good order or
    because the parent was killed, they stop. One that dies is started again, at most one a second.

    Parameters
    ----------
    name : str
        The service, for the log.
    serve : Callable
        What a child does, until the event that it is given is set.
    grace_s : float
        How long children may take to stop before they are killed.

    Raises
    ------
    OSError
        A child cannot be begun; the others are stopped.
    """
    # Fork, so that the socket, the settings and whatever `wake` holds need not be sent across.
    context = multiprocessing.get_context("fork")
    log = get_logger(f"dicomrelay.{name}")
    read_end, write_end = os.pipe()

    def begin() -> BaseProcess:
        process = context.Process(target=_child, args=(serve, read_end, write_end), name=name)
        process.start()
        return process

    children: list[BaseProcess] = []
    try:
        for _ in range(count):
            children.append(begin())  # noqa: PERF401  # one by one: those that were begun are ended if the next cannot be
        ready()
        began_at = time.monotonic()
        while not stop.wait(_LOOK_EVERY_S):
            for number, child in enumerate(children):
                if not child.is_alive() and time.monotonic() - began_at >= _RESTART_AFTER_S:
                    log.error(
                        "a listener process died", action=f"{name}.process-died", exit_code=child.exitcode
                    )
                    began_at = time.monotonic()
                    children[number] = begin()
    finally:
        os.close(write_end)
        _end(children, grace_s)
        os.close(read_end)


def _end(children: Sequence[BaseProcess], grace_s: float) -> None:
    deadline = time.monotonic() + grace_s
    for child in children:
        child.join(max(0.0, deadline - time.monotonic()))
        if child.is_alive():
            child.kill()
            child.join()


def _child(serve: Callable[[threading.Event], None], read_end: int, write_end: int) -> None:
    os.close(write_end)
    stopping = threading.Event()
    threading.Thread(target=_wait_for_parent, args=(read_end, stopping), name="parent", daemon=True).start()
    serve(stopping)


def _wait_for_parent(read_end: int, stopping: threading.Event) -> None:
    os.read(read_end, 1)  # nobody ever writes: it returns when the other end is closed
    stopping.set()
