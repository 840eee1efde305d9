"""What the supervisor keeps alive."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from dicomrelay.runtime.readiness import ReadinessSocket


@dataclass(frozen=True, slots=True)
class Service:
    """A process to keep alive.

    Attributes
    ----------
    name : str
        For people; its log is `<name>.log`.
    command : callable
        Gives the argument list; called at every start, so it may prepare files.
    rank : int
        Lower ranks start first and stop last.
    is_ready : callable, optional
        Asked until it says yes; without one the process says so itself (`readiness.notify_ready`).
    start_timeout_s, stop_grace_s : float
        Time to become ready before the others go on without it, and time to end when asked.
    mend : callable, optional
        Called when it ended by itself before it was ready, once until it has been ready: puts right what may be the
        cause and says what it did, then the service is started once more; "" when there was nothing to put right.
    """

    name: str
    command: Callable[[], Sequence[str]]
    rank: int
    is_ready: Callable[[], bool] | None = None
    start_timeout_s: float = 60
    stop_grace_s: float = 30
    environment: Mapping[str, str] = field(default_factory=dict)
    mend: Callable[[], str] | None = None


@dataclass(slots=True)
class Running:
    """A service and what has come of it.

    Attributes
    ----------
    process : subprocess.Popen, optional
        None while it is held back until `not_before`.
    was_ready : bool
        At least once.
    is_late : bool
        It was not ready in time at its first start, or died there for want of something else.
    mended : bool
        Its `mend` was called since it was ready last.
    failures : int
        In a row.
    """

    service: Service
    process: subprocess.Popen[bytes] | None = None
    notices: ReadinessSocket | None = None
    ready: bool = False
    was_ready: bool = False
    is_late: bool = False
    mended: bool = False
    started_at: float = 0
    failures: int = 0
    not_before: float = 0
