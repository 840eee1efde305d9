"""What worklist and MPPS ask of the schedule, and the one door to it (docs/design/worklist.md).

As `archive_port`: what needs the database is imported inside the functions that are called at the first question, so that a
gateway that stores needs none of it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from dicomrelay.scheduling.worklist_query import Question
from dicomrelay.settings import Settings

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from dicomrelay.scheduling.performed_steps import PerformedSteps
    from dicomrelay.scheduling.performed_values import StepMessage
    from dicomrelay.scheduling.worklist import Worklist


class _Disposable(Protocol):
    def dispose(self) -> None:
        """Close every connection."""


_Opened = TypeVar("_Opened", bound=_Disposable)
_CLOSE_S: Final = 1.0


class WorklistPort(Protocol):
    """What a C-FIND of the Modality Worklist asks. For all threads of a listener.

    Raises ServiceUnavailable while the database does not answer, and LedgerError when it refuses; the next call tries again.
    """

    def answers(
        self, question: Question, hidden: Sequence[str], is_stopped: Callable[[], bool]
    ) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
        """Every item that matches: its stations, and its answer in DICOM JSON; nothing more once it is stopped.

        Parameters
        ----------
        hidden : sequence of str
            States that are not shown unless the question is about the state.
        """


class PerformedPort(Protocol):
    """What N-CREATE, N-SET and N-GET of a performed procedure step ask. For all threads of a listener.

    Each raises StepRefused with the status that the peer is answered, and ServiceUnavailable or LedgerError as above.
    """

    def create(self, message: StepMessage) -> None:
        """Make a step; it is durable when this returns."""

    def change(self, message: StepMessage) -> str:
        """Change one, and its state after that; durable when this returns."""

    def attributes(self, sop_instance_uid: str, caller: str) -> Dataset:
        """All of one for the AE title that asks, text as Unicode."""

    def taken(self, age_ms: int) -> Mapping[str, int]:
        """Bytes of the messages that came in so long a time, by calling AE title."""


class Lazily(Generic[_Opened]):
    """Something of the database, opened at the first question. A failure is not remembered."""

    def __init__(self, opened: Callable[[], _Opened]) -> None:
        self._opened = opened
        self._lock = threading.Lock()
        self._held: _Opened | None = None

    @property
    def is_open(self) -> bool:
        """Whether anybody has asked yet."""
        return self._held is not None

    def get(self) -> _Opened:
        """It."""
        with self._lock:
            if self._held is None:
                self._held = self._opened()
            return self._held

    def close(self) -> None:
        """Let go of it; what somebody waits for to open is left to the end of the process."""
        if not self._lock.acquire(timeout=_CLOSE_S):
            return
        try:
            held, self._held = self._held, None
        finally:
            self._lock.release()
        if held is not None:
            held.dispose()


class LazyWorklist:
    """A `WorklistPort` on the ledger's database."""

    def __init__(self, settings: Settings) -> None:
        self._lazily: Lazily[Worklist] = Lazily(lambda: _worklist(settings))

    @property
    def is_open(self) -> bool:
        """Whether anybody has asked yet."""
        return self._lazily.is_open

    def answers(
        self, question: Question, hidden: Sequence[str], is_stopped: Callable[[], bool]
    ) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
        """Every item that matches: its stations, and its answer."""
        from dicomrelay.scheduling.worklist_status import StepStatus  # noqa: PLC0415

        states = [*map(StepStatus, hidden)]
        for entry, answer in self._lazily.get().find(question, hidden=states, is_stopped=is_stopped):
            yield entry.stations, answer

    def close(self) -> None:
        """Let go of the database; a later question opens it again."""
        self._lazily.close()


class LazyPerformed:
    """A `PerformedPort` on the ledger's database."""

    def __init__(self, settings: Settings) -> None:
        self._lazily: Lazily[PerformedSteps] = Lazily(lambda: _performed(settings))

    @property
    def is_open(self) -> bool:
        """Whether anybody has asked yet."""
        return self._lazily.is_open

    def create(self, message: StepMessage) -> None:
        """Make a step."""
        self._lazily.get().create(message)

    def change(self, message: StepMessage) -> str:
        """Change one."""
        return self._lazily.get().change(message).value

    def attributes(self, sop_instance_uid: str, caller: str) -> Dataset:
        """All of one."""
        return self._lazily.get().attributes(sop_instance_uid, caller)

    def taken(self, age_ms: int) -> Mapping[str, int]:
        """Bytes that came, by calling AE title."""
        return self._lazily.get().taken(age_ms)

    def close(self) -> None:
        """Let go of the database; a later request opens it again."""
        self._lazily.close()


def _worklist(settings: Settings) -> Worklist:
    from dicomrelay.scheduling.opening import open_worklist  # noqa: PLC0415 - the database's libraries

    return open_worklist(settings)


def _performed(settings: Settings) -> PerformedSteps:
    from dicomrelay.scheduling.opening import existing_ledger_url  # noqa: PLC0415 - the database's libraries
    from dicomrelay.scheduling.performed_steps import PerformedSteps as Opened  # noqa: PLC0415
    from dicomrelay.scheduling.performed_values import ForwardPeer  # noqa: PLC0415

    steps = settings.performed_procedure_steps
    peers = [ForwardPeer.of(each) for each in steps.destinations]
    url = existing_ledger_url(settings)
    return Opened.open(url, peers, strict=steps.strict, others_may=steps.others_may)
