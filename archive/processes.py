"""Batches of work for processes: bounded, in any order, and none lost when a process dies.

Each process has a pipe of its own. It ends when its pipe does, so it never outlives who made it, however that one dies.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Any, Final, Generic, TypeAlias, TypeVar

from dicomrelay.errors import RelayError, ServiceUnavailable

# Called once in each process, with the arguments of the pool: what answers a batch.
Opening: TypeAlias = Callable[..., Callable[[Any], Any]]
_B = TypeVar("_B")

# A process is given the next batch when it has answered: two that send to each other at once may both wait for ever.
_OUTSTANDING: Final = 1
# So many deaths are no accident.
_MOST_DEATHS: Final = 20
_END_S: Final = 60.0
_ATTEMPTS: Final = 2


@dataclass(frozen=True, slots=True)
class Died:
    """There is no answer: the process that had the batch died, and so did the next."""

    words: str


@dataclass(slots=True)
class _Process(Generic[_B]):
    process: SpawnProcess
    pipe: Connection
    batches: deque[tuple[_B, int]] = field(default_factory=deque)


class Processes(Generic[_B]):
    """A pool of processes for batches.

    Parameters
    ----------
    count : int
        How many, at least 1.
    opening : callable
        Of a module, so that it can be imported in the process; and `arguments`, which are pickled.
    """

    def __init__(self, count: int, opening: Opening, arguments: tuple[Any, ...]) -> None:
        self._opening = opening
        self._arguments = arguments
        self._context = multiprocessing.get_context("spawn")
        self._again: deque[tuple[_B, int]] = deque()
        self._running: list[_Process[_B]] = []
        self._deaths = 0
        for _ in range(count):
            self._start()

    def run(self, batches: Iterator[_B]) -> Iterator[tuple[_B, Any | Died]]:
        """Each batch with its answer, as they come. Batches are taken from the iterator when there is a process for them.

        Raises
        ------
        RelayError
            What a process raised, or too many of them died; batches that are under way are then without an answer.
        """
        more = True
        while True:
            for each in list(self._running):
                while len(each.batches) < _OUTSTANDING and (self._again or more):
                    given = self._next(batches)
                    if given is None:
                        more = False
                    elif not self._give(each, given):
                        break
            if not any(each.batches for each in self._running) and not self._again and not more:
                return
            yield from self._answers()

    def _next(self, batches: Iterator[_B]) -> tuple[_B, int] | None:
        if self._again:
            return self._again.popleft()
        batch = next(batches, None)
        return None if batch is None else (batch, 1)

    def _give(self, to: _Process[_B], given: tuple[_B, int]) -> bool:
        to.batches.append(given)
        try:
            to.pipe.send(given[0])
        except OSError:
            return False  # its end is heard in `_answers`
        return True

    def _answers(self) -> Iterator[tuple[_B, Any | Died]]:
        ready = wait([each.pipe for each in self._running])
        for each in [each for each in self._running if each.pipe in ready]:
            try:
                answer = each.pipe.recv()
            except (EOFError, OSError):
                yield from self._buried(each)
                continue
            if isinstance(answer, RelayError):
                raise answer
            batch, _ = each.batches.popleft()
            yield batch, answer

    def _buried(self, dead: _Process[_B]) -> Iterator[tuple[_B, Died]]:
        """A process has died: what it had is given to others, the batch that it was at for the last time."""
        self._running.remove(dead)
        dead.pipe.close()
        dead.process.join(_END_S)
        code = dead.process.exitcode
        words = f"the process that had it died ({signal.Signals(-code).name if code and code < 0 else code})"
        self._deaths += 1
        if self._deaths > _MOST_DEATHS:
            raise ServiceUnavailable(f"{words}, and so did {_MOST_DEATHS} others: is there memory enough?")
        for number, (batch, attempt) in enumerate(dead.batches):
            if number == 0 and attempt >= _ATTEMPTS:
                yield batch, Died(words)
            else:
                self._again.append((batch, attempt + (number == 0)))
        self._start()

    def _start(self) -> None:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_serve, args=(theirs, self._opening, self._arguments), daemon=True
        )
        process.start()
        theirs.close()
        self._running.append(_Process(process, ours))

    def close(self) -> None:
        """Let every process finish the batch that it is at, and wait for it."""
        for each in self._running:
            each.pipe.close()
        for each in self._running:
            each.process.join(_END_S)
            if each.process.is_alive():
                each.process.terminate()
                each.process.join()
        self._running.clear()

    def __enter__(self) -> Processes[_B]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _serve(pipe: Connection, opening: Opening, arguments: tuple[Any, ...]) -> None:
    """The process: answer batches until the pipe ends."""
    # Ctrl-C in a terminal goes to all; who made us decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(EOFError, OSError):
        try:
            answer = opening(*arguments)
            while True:
                pipe.send(answer(pipe.recv()))
        except RelayError as error:
            # Of any class and with any arguments: words are what goes through a pipe.
            kind = ServiceUnavailable if error.retryable else RelayError
            pipe.send(kind(str(error)))
