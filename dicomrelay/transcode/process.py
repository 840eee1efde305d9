"""A child process that works for a workshop: one line of JSON to it, one from it."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from time import monotonic
from typing import Any, Final

from dicomrelay.errors import NotTranscodable
from dicomrelay.transcode.values import TranscodeLimits

_TICK_S: Final = 1.0
_GRACE_S: Final = 2.0
# Ours is one short line; whatever is longer is no answer.
_LINE_BYTES: Final = 65_536
# What an interpreter, its libraries and temporary files need.
_KEPT: Final = frozenset({"PATH", "LANG", "LANGUAGE", "TZ", "TMPDIR", "LD_LIBRARY_PATH"})
_KEPT_PREFIXES: Final = ("LC_", "PYTHON")
_ONE_THREAD: Final = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class TooSlowError(NotTranscodable):
    """It was not done in time: what it was asked for, or a machine that has much else to do."""

    retryable = True


class ChildGoneError(NotTranscodable):
    """It was dead before it was asked: what it was asked for is not to blame."""


class Child:
    """The process, and the lines to and from it.

    Parameters
    ----------
    module : str
        What it runs, with our process id and the limits as arguments.
    maker : str
        What people call it.
    """

    def __init__(self, module: str, limits: TranscodeLimits, maker: str = "the decoder") -> None:
        self._maker = maker
        self._process = _started(
            [
                sys.executable,
                "-m",
                module,
                str(os.getpid()),
                json.dumps(asdict(limits)),
            ]
        )

    def ask(self, asked: dict[str, Any], seconds: float, waiting: Callable[[], None]) -> dict[str, Any]:
        """Send a line and wait for the answer.

        Raises
        ------
        ChildGoneError
            It was dead already.
        TooSlowError
            It takes too long.
        NotTranscodable
            It died.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None  # noqa: S101, PT018 - for the type checker
        deadline = monotonic() + seconds
        try:
            stdin.write(json.dumps(asked).encode("ascii") + b"\n")
            stdin.flush()
        except BrokenPipeError:
            raise ChildGoneError(str(self._died())) from None
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
                raise TooSlowError(f"{self._maker} was not done within {seconds:.0f} s")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _died(self) -> NotTranscodable:
        try:
            code = self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:  # whoever asked kills it
            return NotTranscodable(f"{self._maker} gave no answer")
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return NotTranscodable(f"{self._maker} died over it ({how})")

    def end(self) -> None:
        """Kill it: it has nothing to lose."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()


# It dies with the thread that started it, not with the process (prctl(2), PR_SET_PDEATHSIG): so one thread starts them all, and
# lives as long as the process. One for each process: threads do not survive a fork.
_starter: ThreadPoolExecutor | None = None
_starter_lock = threading.Lock()


def _forget_the_starter() -> None:
    global _starter, _starter_lock
    _starter, _starter_lock = None, threading.Lock()


os.register_at_fork(after_in_child=_forget_the_starter)


def _started(arguments: list[str]) -> subprocess.Popen[bytes]:
    global _starter  # noqa: PLW0603 - one for the process
    with _starter_lock:
        if _starter is None:
            _starter = ThreadPoolExecutor(1, thread_name_prefix="starts-children")
        starting = _starter.submit(_start, arguments)
    return starting.result()


def _start(arguments: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        arguments,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=_environment(),
    )


def _environment() -> dict[str, str]:
    """What it needs of ours, and nothing else: the child reads strangers' bytes, and a secret may have any name."""
    kept = {
        name: value for name, value in os.environ.items() if name in _KEPT or name.startswith(_KEPT_PREFIXES)
    }
    return {**kept, **_ONE_THREAD}
