"""Starts the processes of one machine in order, restarts what dies, and stops them in reverse order.

A service is a command and a way to know that it is ready. Services of one rank start together; the next rank starts
when they are ready. A service that dies later is started again with back-off, and the others go on: the gateway takes
images without broker and database, the rest wakes up when they are back.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from dicomrelay.errors import RelayError, ServiceError
from dicomrelay.runtime import not_ready, process
from dicomrelay.runtime.not_ready import NotReady
from dicomrelay.runtime.readiness import ReadinessSocket
from dicomrelay.runtime.service import Running, Service

_POLL_S = 0.05
_BACK_OFF_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
# A service that lived so long had not failed to start: its next failure counts as the first.
_STEADY_S = 60.0
# Who was told to end by somebody says nothing about itself.
_TOLD_TO_END = (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT)


class Supervisor:
    """Keeps services alive until told to stop.

    Parameters
    ----------
    services : sequence of Service
    logs : Path
        The folder of the log files.
    say : callable
        Takes one line for people at every change.
    ready_file : Path
        Exists while every service is ready; beside it `services.json` has those that are not (`dicomrelay.runtime.not_ready`).
    """

    def __init__(
        self, services: Sequence[Service], *, logs: Path, say: Callable[[str], None], ready_file: Path
    ) -> None:
        self._running = [Running(service) for service in sorted(services, key=lambda s: s.rank)]
        self._logs = logs
        self._say = say
        self._ready_file = ready_file
        self._shown: list[tuple[str, float | None]] = []

    def start(self, stop: threading.Event) -> None:
        """Start every rank and wait until all have been ready, or until `stop` is set.

        One that lives and is not ready in time is waited for to the end, and holds up no other: it says so, and from
        then on it is started again when it dies.

        Raises
        ------
        ServiceError
            A service ended at its first start, and all of lower ranks were there; the message quotes its log.
        """
        self._ready_file.unlink(missing_ok=True)
        started: list[Running] = []
        for rank in sorted({running.service.rank for running in self._running}):
            group = [running for running in self._running if running.service.rank == rank]
            for running in group:
                self._launch(running)
            started += group
            while not all(running.was_ready or running.is_late for running in group):
                if self._attend_to(started, stop):
                    return
        while not all(running.was_ready for running in started):
            if self._attend_to(started, stop):
                return

    def start_patiently(self) -> None:
        """Start all at once and wait for none: who fails is tried again by `watch`, as if it had died later."""
        self._ready_file.unlink(missing_ok=True)
        for running in self._running:
            self._launch(running)

    def watch(self, stop: threading.Event) -> None:
        """Restart what dies until `stop` is set."""
        while not stop.is_set():
            for running in self._running:
                self._tend(running)
            self._show_ready(all(running.ready for running in self._running))
            self._show_those_that_are_not()
            stop.wait(_POLL_S)

    def stop(self) -> None:
        """Stop all, last rank first, those of one rank together."""
        self._show_ready(False)
        not_ready.show(self._ready_file.parent, [])
        for rank in sorted({running.service.rank for running in self._running}, reverse=True):
            group = [running for running in self._running if running.service.rank == rank]
            for running in group:
                if running.process and running.process.poll() is None:
                    running.process.terminate()
            for running in group:
                self._end(running)

    def _end(self, running: Running) -> None:
        if running.process and not process.wait(running.process, grace_s=running.service.stop_grace_s):
            self._say(
                f"{running.service.name} did not stop in {running.service.stop_grace_s:g} s and was killed"
            )
        self._close_notices(running)

    def _launch(self, running: Running) -> None:
        self._close_notices(running)
        service = running.service
        environment = dict(service.environment)
        if service.is_ready is None:
            running.notices = ReadinessSocket(service.name)
            environment["NOTIFY_SOCKET"] = running.notices.address
        with self.log_path(service.name).open("ab") as log:
            running.process = process.start(service.command(), output=log, environment=environment)
        running.ready = False
        running.started_at = time.monotonic()

    def _attend_to(self, started: Sequence[Running], stop: threading.Event) -> bool:
        """Look at each once and pause; whether to stop."""
        for running in started:
            if running.was_ready or running.is_late:
                self._tend(running)
            else:
                self._await_first_start(running)
        if any(running.is_late for running in started):
            self._show_those_that_are_not()
        return stop.wait(_POLL_S)

    def _await_first_start(self, running: Running) -> None:
        if self._check_ready(running):
            return
        service = running.service
        ended = running.process.poll() if running.process else None
        if ended is not None:
            if self._mended(running, ended):
                self._launch(running)
                return
            if self._lacks_a_lower_rank(running):
                running.is_late = True
                self._try_later(running, f"died ({_ending(ended)})")
                return
            raise ServiceError(
                f"{service.name} ended at once (exit code {ended}): {self._last_words(service.name)}"
            )
        if time.monotonic() - running.started_at > service.start_timeout_s:
            running.is_late = True
            self._say(
                f"{service.name} is not ready after {service.start_timeout_s:g} s and is waited for, the others go on; "
                f"see {self.log_path(service.name)}"
            )

    def _lacks_a_lower_rank(self, running: Running) -> bool:
        """Whether what it needs may not be there yet."""
        rank = running.service.rank
        return any(not each.ready and each.service.rank < rank for each in self._running)

    def _tend(self, running: Running) -> None:
        now = time.monotonic()
        if running.process is None:
            if now >= running.not_before:
                self._launch_again(running)
            return
        code = running.process.poll()
        if code is None:
            self._check_ready(running)
            return
        if self._mended(running, code):
            self._launch_again(running)
            return
        if now - running.started_at > _STEADY_S:
            running.failures = 0
        self._try_later(running, f"died ({_ending(code)})")

    def _mended(self, running: Running, code: int) -> bool:
        """Whether something was put right for a service that ended before it was ready."""
        mend = running.service.mend
        if mend is None or running.ready or running.mended or code in _TOLD_TO_END:
            return False
        running.mended = True
        name = running.service.name
        try:
            done = mend()
        except OSError as error:
            self._say(
                f"{name} ended before it was ready, and what may be the cause cannot be mended ({error})"
            )
            return False
        if done:
            self._say(f"{name} {done}; see {self.log_path(name)}")
        return bool(done)

    def _launch_again(self, running: Running) -> None:
        try:
            self._launch(running)
        except (OSError, RelayError) as error:
            self._try_later(running, f"cannot be started ({error})")

    def _try_later(self, running: Running, what: str) -> None:
        wait_s = _BACK_OFF_S[min(running.failures, len(_BACK_OFF_S) - 1)]
        running.failures += 1
        running.not_before = time.monotonic() + wait_s
        running.process = None
        running.ready = False
        name = running.service.name
        self._say(f"{name} {what}; starts again in {wait_s:g} s; see {self.log_path(name)}")

    def _check_ready(self, running: Running) -> bool:
        if not running.ready:
            ask = running.service.is_ready or (running.notices.is_ready if running.notices else None)
            if ask is not None and ask():
                running.ready = running.was_ready = True
                running.mended = False
                took = time.monotonic() - running.started_at
                self._say(f"{running.service.name} is ready ({took:.1f} s)")
        return running.ready

    def _show_ready(self, ready: bool) -> None:
        if ready != self._ready_file.exists():
            if ready:
                self._ready_file.touch()
            else:
                self._ready_file.unlink(missing_ok=True)

    def _show_those_that_are_not(self) -> None:
        waiting = [
            (running.service.name, None if running.process else running.not_before)
            for running in self._running
            if not running.ready
        ]
        if waiting != self._shown:
            self._shown = waiting
            ahead_s = time.time() - time.monotonic()
            not_ready.show(
                self._ready_file.parent,
                [NotReady(name, None if at is None else at + ahead_s) for name, at in waiting],
            )

    def _close_notices(self, running: Running) -> None:
        if running.notices:
            running.notices.close()
            running.notices = None

    def log_path(self, name: str) -> Path:
        """Where a service's log is."""
        return self._logs / f"{name}.log"

    def _last_words(self, name: str) -> str:
        path = self.log_path(name)
        try:
            lines = path.read_text("utf-8", "replace").strip().splitlines()
        except OSError:
            lines = []
        return (lines[-1] if lines else "it wrote nothing") + f" (all of it in {path})"


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
