"""What every service does beside its work: count, and answer who asks how it is (docs/design/metrics.md)."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager

from dicomrelay import metrics, traces
from dicomrelay.errors import ServiceUnavailable
from dicomrelay.runtime.health import Check, Health, Started
from dicomrelay.runtime.queue import Queue, WakeUps
from dicomrelay.runtime.readiness import notify_ready
from dicomrelay.settings import Settings
from dicomrelay.web.endpoint import serving


@contextmanager
def shown(
    settings: Settings, service: str, checks: Mapping[str, Check] | None = None
) -> Iterator[Callable[[], None]]:
    """Count what this process and its children do, and answer at metrics.port, while the block runs.

    Parameters
    ----------
    service : str
        As `dicomrelay up` names it.
    checks : mapping
        What it needs, by name.

    Yields
    ------
    callable
        To be called when the service is ready.

    Raises
    ------
    PortInUse, ConfigurationError
        metrics.host and metrics.port cannot be listened on, or the token cannot be read.
    """
    if settings.metrics.enabled:
        metrics.begin(settings.path("run", "metrics"), service)
    traces.begin(settings.traces, service)
    started = Started(_ready)
    try:
        with serving(settings, Health({service: started.check, **(checks or {})})):
            yield started
    finally:
        traces.end()


def _ready() -> None:
    # What is loaded by now stays: the collector looks at it no more, so that its pauses are short.
    gc.freeze()
    notify_ready()


def broker_check(settings: Settings) -> Check:
    """Whether the broker answers."""

    def check() -> str:
        with closing(WakeUps(settings)) as wake_ups:
            try:
                wake_ups.depths([Queue.FORWARD_NORMAL])
            except ServiceUnavailable:
                return "does not answer"
        return ""

    return check


def ledger_check(settings: Settings) -> Check:
    """Whether the ledger answers."""

    def check() -> str:
        from dicomrelay.ledger import Ledger  # noqa: PLC0415 - not every service has it
        from dicomrelay.runtime.home import ledger_url  # noqa: PLC0415

        ledger = Ledger.open(ledger_url(settings))
        try:
            ledger.destination("")
        except ServiceUnavailable:
            return "does not answer"
        finally:
            ledger.dispose()
        return ""

    return check
