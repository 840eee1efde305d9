"""Our own certificates and the authorities we trust: do the files fit, when do they expire."""

from __future__ import annotations

import ssl
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Final

from dicomrelay.cli.checks.finding import Finding, failed, ok, warning
from dicomrelay.errors import ConfigurationError, ExitCode
from dicomrelay.net.certificates import Certificate, read_certificates
from dicomrelay.net.tls import acceptor_context, http_door, requestor_context
from dicomrelay.settings import DestinationTlsSettings, HttpTlsSettings, Settings, TlsSettings

WARN_BEFORE: Final = timedelta(days=30)


def check_certificates(settings: Settings, now: datetime | None = None) -> Iterator[Finding]:
    """Every file that a `tls` table of the settings names."""
    moment = now or datetime.now(UTC)
    tls = settings.gateway.tls
    if tls is not None:
        yield from _check("gateway.tls", tls, lambda: acceptor_context(tls), moment)
        if tls.ca is None:
            yield warning(
                "tls gateway.tls",
                "clients show no certificate: whoever reaches the port may call, as [[peers]] allow",
                "set gateway.tls.ca to ask for certificates",
            )
    for name, http in (
        ("streamer.tls", settings.streamer.tls),
        ("monitor.tls", settings.monitor.tls),
        ("metrics.tls", settings.metrics.tls),
    ):
        if http is not None:
            yield from _check(name, http, _http_builder(http, name), moment)
    syslog = settings.audit.syslog
    if syslog is not None and (syslog.tls.certificate or syslog.tls.ca):
        where = "audit.syslog.tls"
        yield from _check(where, syslog.tls, _builder(syslog.tls, where), moment)
    for destination in settings.destinations:
        theirs = destination.tls
        if theirs is not None:
            where = f"destinations.{destination.name}.tls"
            yield from _check(where, theirs, _builder(theirs, where), moment)


def _builder(tls: DestinationTlsSettings, where: str) -> Callable[[], ssl.SSLContext]:
    return lambda: requestor_context(tls, where=where)


def _http_builder(tls: HttpTlsSettings, where: str) -> Callable[[], ssl.SSLContext]:
    def build() -> ssl.SSLContext:
        return http_door(tls, where)()

    return build


def _check(
    where: str,
    tls: TlsSettings | DestinationTlsSettings | HttpTlsSettings,
    build: Callable[[], ssl.SSLContext],
    now: datetime,
) -> Iterator[Finding]:
    about = f"tls {where}"
    try:
        build()
        own = read_certificates(tls.certificate) if tls.certificate else []
        ca = None if isinstance(tls, HttpTlsSettings) else tls.ca
        trusted = read_certificates(ca) if ca else []
    except ConfigurationError as error:
        yield failed(about, str(error), "put the right file there, or correct the setting", ExitCode.USAGE)
        return
    if own:
        yield expiry(about, f"{tls.certificate}: {own[0].subject}", min(each.ends for each in own), now)
        yield from _chain(about, tls.certificate, own)
        yield from _key_rights(about, tls.key or tls.certificate)
    if trusted:
        # One authority that has expired hurts only who comes from it.
        yield expiry(about, f"{ca}: {len(trusted)} authorities", max(each.ends for each in trusted), now)


def expiry(about: str, whose: str, ends: datetime, now: datetime) -> Finding:
    """How long a certificate holds."""
    day = ends.date().isoformat()
    if ends <= now:
        return failed(
            about, f"{whose} expired on {day}", "renew it; it is taken without a restart", ExitCode.USAGE
        )
    left = ends - now
    if left < WARN_BEFORE:
        return warning(
            about, f"{whose} expires on {day}, in {left.days} days", "renew it; it is taken without a restart"
        )
    return ok(about, f"{whose}, until {day}")


def _chain(about: str, path: Path | None, own: list[Certificate]) -> Iterator[Finding]:
    for lower, upper in pairwise(own):
        if lower.issuer != upper.subject:
            yield failed(
                about,
                f"{path}: below {lower.subject} stands {upper.subject}, its issuer is {lower.issuer}",
                "order the file from our certificate up to the authority",
                ExitCode.USAGE,
            )
            return


def _key_rights(about: str, key: Path | None) -> Iterator[Finding]:
    if key is not None and stat.S_IMODE(key.stat().st_mode) & 0o077:
        yield warning(about, f"{key}: the private key may be read by other users", f"chmod 600 {key}")
