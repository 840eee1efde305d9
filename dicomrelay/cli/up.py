"""`dicomrelay up`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.cli.services import services
from dicomrelay.cli.signals import stop_on_signals
from dicomrelay.errors import ConfigurationError, ExitCode, LedgerError, PortInUse, ServiceUnavailable
from dicomrelay.ledger.migrate import migrate
from dicomrelay.ledger.settling import settle
from dicomrelay.metrics.gathering import forget
from dicomrelay.net import tls
from dicomrelay.net.acceptor import listen
from dicomrelay.net.certificates import out_of_date
from dicomrelay.routing.book import rule_set
from dicomrelay.runtime import home
from dicomrelay.runtime.health import Health, services_of
from dicomrelay.runtime.log_rotation import rotate_until
from dicomrelay.runtime.queue import WakeUps
from dicomrelay.runtime.readiness import notify_ready
from dicomrelay.runtime.supervisor import Supervisor
from dicomrelay.settings import Settings, is_loopback
from dicomrelay.web.endpoint import serving
from scp_gateway import reception


@relay_command(
    about="Run everything on this machine in the foreground: broker, gateway, workers, scheduler, streamer, Flower. "
    "Ctrl-C stops it cleanly.",
    examples="dicomrelay up\ndicomrelay up --home /var/lib/dicomrelay --config /etc/dicomrelay/relay.toml",
)
def command(invocation: Invocation) -> int:
    stop = stop_on_signals()
    run(invocation.settings, config=invocation.config, say=invocation.say, stop=stop, once_ready=notify_ready)
    return ExitCode.OK


def run(
    settings: Settings,
    *,
    config: Path | None,
    say: Callable[[str], None],
    stop: threading.Event,
    once_ready: Callable[[], None],
) -> None:
    """Start, watch and stop everything.

    Raises
    ------
    ConfigurationError
        A certificate, a key or an authority of TLS cannot be used, or Flower would be open to everybody.
    ServiceError
        It runs here already, a port is taken, or a service did not start; the message says which.
    """
    home.prepare(settings)
    _check_flower(settings)
    tls.check(settings)
    rule_set(settings)
    reception.check(settings)
    lock = home.HomeLock(settings)
    lock.take()
    try:
        _check_ports(settings)
        say(f"home {settings.home}")
        all_there = _database_answers(settings, say) and _broker_answers(settings, say)
        found = services(settings, config=config)
        rotate_until(
            stop,
            [settings.path("logs", f"{service.name}.log") for service in found],
            max_bytes=settings.retention.log_bytes,
            files=settings.retention.log_files,
        )
        supervisor = Supervisor(
            found,
            logs=settings.path("logs"),
            say=say,
            ready_file=settings.path("run", "ready"),
        )
        forget(settings.path("run", "metrics"))
        try:
            with serving(settings, Health({"services": services_of(settings)})):
                if all_there:
                    supervisor.start(stop)
                else:
                    supervisor.start_patiently()
                if not stop.is_set():
                    _say_where(settings, say)
                    once_ready()
                supervisor.watch(stop)
        finally:
            say("stopping")
            supervisor.stop()
            # Processes of a worker's pool end without closing what they have open, and nobody else knows that all are gone.
            settle([settings.path("db", "ledger.sqlite"), settings.archive_path / "index.sqlite"])
        say("stopped; what was acknowledged is in the spool")
    finally:
        lock.release()


def _database_answers(settings: Settings, say: Callable[[str], None]) -> bool:
    """Bring the ledger's schema up to date. A database of somebody else that is away is no reason to refuse images."""
    try:
        migrate(home.ledger_url(settings))
    except ServiceUnavailable as error:
        if settings.database.url.get_secret_value() == "embedded":
            raise
        say(f"{error}: the gateway takes instances meanwhile, the rest follows when it is back")
        return False
    except LedgerError as error:
        raise LedgerError(f"{error}: `dicomrelay doctor --home {settings.home}` says what to do") from error
    return True


def _broker_answers(settings: Settings, say: Callable[[str], None]) -> bool:
    if settings.broker.url.get_secret_value() == "embedded":
        return True
    wake_ups = WakeUps(settings)
    try:
        wake_ups.depths()
    except ServiceUnavailable as error:
        say(f"{error}: the gateway takes instances meanwhile, the rest follows when it is back")
        return False
    finally:
        wake_ups.close()
    return True


def _check_flower(settings: Settings) -> None:
    """Say that Flower would be open to everybody before anything is started."""
    why = settings.flower_stays_shut()
    if settings.monitor.enabled and why:
        raise ConfigurationError(why)


def _check_ports(settings: Settings) -> None:
    """Say which port is taken before anything is started."""
    wanted = [
        ("gateway", settings.gateway.host, settings.gateway.port),
        ("streamer", settings.streamer.host, settings.streamer.port),
    ]
    if settings.monitor.enabled:
        wanted.append(("monitor", settings.monitor.host, settings.monitor.port))
    if settings.metrics.port:
        wanted.append(("metrics", settings.metrics.host, settings.metrics.port))
    for section, host, port in wanted:
        try:
            listen(host, port).close()
        except PortInUse as error:
            raise PortInUse(f"{error} (setting {section}.port)") from error


def _scheme(tls: object | None) -> str:
    return "http" if tls is None else "https"


def _say_where(settings: Settings, say: Callable[[str], None]) -> None:
    gateway = settings.gateway
    say(f"DICOM     {gateway.ae_title}@{gateway.host}:{gateway.port}")
    streamer, monitor, metrics = settings.streamer, settings.monitor, settings.metrics
    say(f"DICOMweb  {_scheme(streamer.tls)}://{streamer.host}:{streamer.port}/")
    if monitor.enabled:
        say(f"Flower    {_scheme(monitor.tls)}://{monitor.host}:{monitor.port}/")
    if metrics.port:
        say(f"metrics   {_scheme(metrics.tls)}://{metrics.host}:{metrics.port}/metrics")
    for tls_settings in (
        gateway.tls, streamer.tls, monitor.tls, metrics.tls, *(each.tls for each in settings.destinations)
    ):  # fmt: skip
        if tls_settings is not None and tls_settings.certificate is not None:
            fault = out_of_date(tls_settings.certificate)
            if fault:
                say(f"warning: {fault}: renew it")
    if not settings.peers and not is_loopback(gateway.host):
        say(f"no [[peers]] in the settings: nobody but this machine may call {gateway.host}:{gateway.port}")
    if not settings.destinations:
        say("no [[destinations]] in the settings: what arrives is archived and goes nowhere else")
