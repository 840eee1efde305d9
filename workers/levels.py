"""Shows what the ledger, the queues and this host's disks hold, for Prometheus (docs/design/metrics.md).

By the schedulers, every few seconds: each shows its host, the one that leads what is the ledger's. So nothing is shown twice but
the broker's common queues, which are the same to all: dashboards take the largest.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from dicomrelay import __version__, metrics
from dicomrelay.audit.backlog import backlog_of
from dicomrelay.errors import AuditError, ConfigurationError, RelayError, ServiceUnavailable
from dicomrelay.ledger.figures import Figures
from dicomrelay.ledger.flow_summary import DestinationFlow
from dicomrelay.log import get_logger
from dicomrelay.metrics import catalogue, levels
from dicomrelay.net.certificates import read_certificates
from dicomrelay.settings import Settings
from dicomrelay.spool.layout import begun_ms
from workers.rooms import Rooms

_log = get_logger("dicomrelay.metrics")
_MEASURED_FILES = 1000
_DESTINATIONS = (
    catalogue.WAITING,
    catalogue.WAITING_BYTES,
    catalogue.OLDEST,
    catalogue.RATE_BYTES,
    catalogue.RATE_INSTANCES,
    catalogue.DRAIN,
    catalogue.RUNNING,
    catalogue.LIMIT,
    catalogue.RUNNABLE,
    catalogue.BREAKER,
    catalogue.BREAKER_SECONDS,
    catalogue.HELD,
    catalogue.REFUSED_NOW,
)
_OF_THE_LEDGER = (
    *_DESTINATIONS,
    catalogue.STAGE_WAITING,
    catalogue.QUEUE_OLDEST,
    catalogue.ATTENTION_ROWS,
    catalogue.LEDGER_SECONDS,
    catalogue.LEDGER_ASKED,
)


def _always() -> bool:
    return True


def show_until(rooms: Rooms, stop: threading.Event, *, leads: Callable[[], bool] = _always) -> None:
    """Look every `metrics.refresh_seconds` until `stop` is set; trouble is logged once, and the next look tries again.

    Parameters
    ----------
    leads : callable
        Whether this scheduler is the one that shows what is the ledger's; each shows its own host.
    """
    if not rooms.settings.metrics.enabled:
        return
    metrics.level(catalogue.BUILD, 1, __version__)
    troubled = ""
    while True:
        try:
            show_host(rooms)
            if leads():
                show_ledger(rooms)
            else:
                hide_ledger()
            troubled = ""
        except (RelayError, OSError) as error:
            if type(error).__name__ != troubled:
                _log.warning("cannot look for the figures, trying again", reason=str(error))
            troubled = type(error).__name__
        if stop.wait(rooms.settings.metrics.refresh_seconds):
            return


def show_ledger(rooms: Rooms) -> Figures:
    """Ask the ledger once, and show what it says.

    Raises
    ------
    ServiceUnavailable
        The ledger does not answer: what it said last stays, with its time.
    """
    began = time.monotonic()
    found = rooms.ledger.figures()
    show_destinations(found.destinations)
    levels(catalogue.STAGE_WAITING, {(name,): count for name, count in found.stages.items()})
    levels(catalogue.ATTENTION_ROWS, {(kind,): found.attention.get(kind, 0) for kind in catalogue.ATTENTION})
    ages = {(each.queue,): (each.oldest_ms or 0) / 1000 for each in rooms.ledger.rates.waiting()}
    levels(catalogue.QUEUE_OLDEST, ages)
    metrics.level(catalogue.LEDGER_SECONDS, time.monotonic() - began)
    metrics.level(catalogue.LEDGER_ASKED, time.time())
    return found


def hide_ledger() -> None:
    """Another scheduler shows it."""
    for family in _OF_THE_LEDGER:
        levels(family, {})


def show_destinations(found: Collection[DestinationFlow]) -> None:
    """Every destination that the ledger knows; one that it knows no more is shown no more."""
    for family, value in (
        (catalogue.WAITING, lambda each: each.instances),
        (catalogue.WAITING_BYTES, lambda each: each.bytes),
        (catalogue.OLDEST, lambda each: (each.oldest_ms or 0) / 1000),
        (catalogue.RATE_BYTES, lambda each: each.bytes_per_s),
        (catalogue.RATE_INSTANCES, lambda each: each.instances_per_s),
        (catalogue.RUNNING, lambda each: each.running),
        (catalogue.LIMIT, _limit),
        (catalogue.RUNNABLE, lambda each: min(_limit(each), each.transfers)),
        (catalogue.BREAKER_SECONDS, _open_seconds),
        (catalogue.HELD, lambda each: each.held_for_ms is not None),
        (catalogue.REFUSED_NOW, lambda each: each.refused),
    ):
        levels(family, {(each.name,): float(value(each)) for each in found})
    levels(catalogue.DRAIN, {(each.name,): each.eta_s for each in found if each.eta_s is not None})
    levels(
        catalogue.BREAKER,
        {(each.name, state): float(each.breaker == state) for each in found for state in catalogue.BREAKERS},
    )


def _limit(each: DestinationFlow) -> int:
    return 0 if each.held_for_ms is not None or each.breaker == "open" else each.limit


def _open_seconds(each: DestinationFlow) -> float:
    return 0.0 if each.breaker == "closed" else (each.open_for_ms or 0) / 1000


def _show_queues(rooms: Rooms) -> None:
    try:
        depths = {queue.value: depth for queue, depth in rooms.wake_ups.depths().items()}
        depths[catalogue.HERE] = rooms.wake_ups.depth_here()
    except ServiceUnavailable:
        metrics.level(catalogue.BROKER_UP, 0)
        levels(catalogue.QUEUE_MESSAGES, {})
        return
    metrics.level(catalogue.BROKER_UP, 1)
    levels(catalogue.QUEUE_MESSAGES, {(name,): float(depth) for name, depth in depths.items()})


def show_host(rooms: Rooms) -> None:
    """Disks, spool, queues and certificates.

    Raises
    ------
    OSError
        The spool cannot be read.
    """
    settings = rooms.settings
    usage = rooms.spool.usage(measured=_MEASURED_FILES)
    levels(
        catalogue.SPOOL_ITEMS,
        {
            ("new",): usage.new,
            ("kept",): usage.kept,
            ("aside",): usage.aside,
            ("corrupt",): usage.corrupt,
        },
    )
    metrics.level(catalogue.SPOOL_BYTES, usage.bytes)
    metrics.level(catalogue.SPOOL_OLDEST, _oldest_new_s(settings.path("spool", "new")) if usage.new else 0)
    metrics.level(catalogue.LOW_WATER, settings.gateway.min_free_bytes)
    disks = {name: status for name, path in disks_of(settings).items() if (status := _status(path))}
    levels(catalogue.DISK_FREE, {(name,): s.f_bavail * s.f_frsize for name, s in disks.items()})
    levels(catalogue.DISK_TOTAL, {(name,): s.f_blocks * s.f_frsize for name, s in disks.items()})
    _show_queues(rooms)
    _show_audit(settings)
    levels(catalogue.CERTIFICATE_ENDS, {(of,): ends for of, ends in certificate_ends(settings).items()})


def disks_of(settings: Settings) -> Mapping[str, Path]:
    """What lies on disks of this host, by `catalogue.DISK_FREE`'s places."""
    found = {"spool": settings.path("spool"), "home": settings.home}
    if settings.archive.enabled and settings.archive.url is None:
        found["archive"] = settings.archive_path
    return found


def _status(path: Path) -> os.statvfs_result | None:
    with suppress(OSError):
        return os.statvfs(path)
    return None


def certificate_ends(settings: Settings) -> dict[str, float]:
    """When certificates of the settings expire, in seconds since 1970, by whose they are; of files that can be read."""
    found = {}
    for name, table in _tls_tables(settings):
        for of, path in (
            (name, getattr(table, "certificate", None)),
            (f"{name} ca", getattr(table, "ca", None)),
        ):
            if path is not None:
                with suppress(ConfigurationError):
                    found[of] = min(each.ends.timestamp() for each in read_certificates(path))
    return found


def _tls_tables(settings: Settings) -> Iterator[tuple[str, object]]:
    """Every table of the settings that names certificates, by whose they are."""
    yield "gateway", settings.gateway.tls
    yield "streamer", settings.streamer.tls
    yield "monitor", settings.monitor.tls
    yield "metrics", settings.metrics.tls
    yield "broker", settings.broker.tls
    yield "database", settings.database.tls
    if settings.audit.syslog is not None:
        yield "audit", settings.audit.syslog.tls
    for receiver in settings.performed_procedure_steps.destinations:
        yield f"mpps {receiver.name}", receiver.tls
    for destination in settings.destinations:
        yield destination.name, destination.tls


def _show_audit(settings: Settings) -> None:
    if not settings.audit.enabled or settings.audit.syslog is None:
        return
    with suppress(AuditError):
        backlog = backlog_of(settings)
        metrics.level(catalogue.AUDIT_UNSENT_BYTES, backlog.bytes)
        metrics.level(catalogue.AUDIT_UNSENT_SECONDS, backlog.oldest_s)


def _oldest_new_s(new: Path) -> float:
    """Age of the oldest item that is whole, by its name."""
    with suppress(FileNotFoundError):
        began = min((ms for name in os.listdir(new) if (ms := begun_ms(name)) > 0), default=0)
        return max(0.0, time.time() - began / 1000) if began else 0.0
    return 0.0
