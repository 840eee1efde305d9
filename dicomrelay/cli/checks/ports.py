"""The ports we listen on: ours, free, or taken by a stranger."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator
from typing import Final

from dicomrelay.cli.checks.finding import Finding, failed, ok, warning
from dicomrelay.errors import (
    AssociationError,
    AssociationRejected,
    ConfigurationError,
    ExitCode,
    PortInUse,
    TlsFailed,
    TlsFault,
)
from dicomrelay.net.acceptor import listen
from dicomrelay.net.limits import Timeouts
from dicomrelay.net.requestor import Association, RemoteAe
from dicomrelay.settings import Settings

_TIMEOUT_S: Final = 3.0
_TIMEOUTS: Final = Timeouts(
    connect_s=_TIMEOUT_S,
    association_s=_TIMEOUT_S,
    response_s=_TIMEOUT_S,
    pdu_s=_TIMEOUT_S,
    release_s=_TIMEOUT_S,
)
# A listener that asks for a certificate, or none that suits us, does speak TLS.
_SPEAKS_TLS: Final = {
    TlsFault.NO_CERTIFICATE,
    TlsFault.REFUSED,
    TlsFault.OURS_IS_OVER,
    TlsFault.NOTHING_IN_COMMON,
    TlsFault.PEER_TROUBLE,
}


def check_ports(settings: Settings, *, is_up: bool) -> Iterator[Finding]:
    """Gateway, streamer and Flower."""
    gateway = settings.gateway
    places = [
        ("gateway", gateway.host, gateway.port),
        ("streamer", settings.streamer.host, settings.streamer.port),
    ]
    if settings.monitor.enabled:
        places.append(("monitor", settings.monitor.host, settings.monitor.port))
    for section, host, port in places:
        yield _port(settings, section, host, port, is_up=is_up)
    if not settings.peers and gateway.host not in {"127.0.0.1", "::1", "localhost"}:
        yield warning(
            "peers",
            f"{gateway.host} is listened on, and nobody but this machine may call",
            "name who may in [[peers]]",
        )


def _port(settings: Settings, section: str, host: str, port: int, *, is_up: bool) -> Finding:
    about, where = f"port {section}", f"{host or '*'}:{port}"
    try:
        listen(host, port).close()
    except PortInUse:
        return _taken(settings, section, about, where)
    except ConfigurationError as error:
        return failed(about, str(error), f"correct {section}.host or {section}.port", ExitCode.USAGE)
    if is_up:
        return failed(
            about,
            f"{where}: `dicomrelay up` runs and nobody listens",
            f"see {settings.path('logs', section + '.log')}",
            ExitCode.UNREACHABLE,
        )
    return ok(about, f"{where} is free")


def _taken(settings: Settings, section: str, about: str, where: str) -> Finding:
    answers = _gateway_answers(settings) if section == "gateway" else _http_answers(settings, section)
    if answers:
        return ok(about, f"{where}: {answers}")
    return failed(
        about,
        f"{where} is taken by another program",
        f"stop it (`ss -ltnp 'sport = :{where.rpartition(':')[2]}'` names it), or choose another {section}.port",
        ExitCode.UNREACHABLE,
    )


def _gateway_answers(settings: Settings) -> str:
    """What a DICOM listener there says; empty when it is none."""
    gateway = settings.gateway
    remote = RemoteAe(gateway.ae_title, _reachable(gateway.host), gateway.port)
    context = None
    if gateway.tls is not None:
        context = _unchecked()
    try:
        with Association.request(
            remote, calling_ae_title=gateway.ae_title, timeouts=_TIMEOUTS, tls=context
        ) as association:
            association.echo()
        return "answers C-ECHO"
    except AssociationRejected:
        return "answers, and does not let us call ourselves"
    except TlsFailed as error:
        return "answers under TLS, and wants a certificate" if error.fault in _SPEAKS_TLS else ""
    except AssociationError:
        return ""


def _http_answers(settings: Settings, section: str) -> str:
    place = settings.streamer if section == "streamer" else settings.monitor
    where = _reachable(place.host), place.port
    connection = (
        http.client.HTTPConnection(*where, timeout=_TIMEOUT_S)
        if place.tls is None
        else http.client.HTTPSConnection(*where, timeout=_TIMEOUT_S, context=_unchecked())
    )
    try:
        connection.request("GET", "/")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return ""
    finally:
        connection.close()
    return f"answers HTTP ({status})"


def _unchecked() -> ssl.SSLContext:
    """Only whether it speaks TLS is asked here, of ourselves: certificates have a check of their own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _reachable(host: str) -> str:
    """Where to call a listener: all addresses are on loopback too."""
    return {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
