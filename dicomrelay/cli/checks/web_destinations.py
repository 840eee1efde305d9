"""A DICOMweb destination: does it answer, does it let us in, and who can read its secrets."""

from __future__ import annotations

import ssl
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from time import monotonic

from dicomrelay.cli.checks.certificates import expiry
from dicomrelay.cli.checks.finding import Finding, Verdict, failed, ok, warning
from dicomrelay.errors import ConfigurationError, ExitCode, RelayError
from dicomrelay.net.outcomes import judge
from dicomrelay.routing import resolve
from dicomrelay.settings import DestinationSettings, Settings
from dicomrelay.text import shown
from dicomrelay.web.http import HttpAnswer


def check_web_destination(
    settings: Settings, destination: DestinationSettings, timeout_s: float
) -> list[Finding]:
    """One of them; `timeout_s` bounds each step."""
    about = f"destination {destination.name}"
    return [*_answered(settings, destination, about, timeout_s), *_readable_by_others(destination, about)]


def _answered(
    settings: Settings, destination: DestinationSettings, about: str, timeout_s: float
) -> list[Finding]:
    url = destination.url or ""
    began = monotonic()
    try:
        answer = _answer(settings, destination, timeout_s)
    except ConfigurationError as error:
        return [failed(about, str(error), "correct the setting", ExitCode.USAGE)]
    except RelayError as error:
        return [failed(about, shown(str(error)), judge(error).advice, error.exit_code)]
    milliseconds = round((monotonic() - began) * 1000)
    under = f" under {answer.tls['version']}" if answer.tls else ""
    words = f"{url} answers HTTP {answer.status}{under} ({milliseconds} ms)"
    if answer.status not in (200, 204):
        advice = "it does not search; whether it stores shows at the first study"
        return [warning(about, words, advice), *_certificate(about, url, answer)]
    return [ok(about, words), *_certificate(about, url, answer)]


def _answer(settings: Settings, destination: DestinationSettings, timeout_s: float) -> HttpAnswer:
    from dicomrelay.web.stow import StowClient  # noqa: PLC0415 - HTTP only where it is spoken

    peer = resolve(destination.name, settings.destinations).web_peer(settings.gateway, timeout_s=timeout_s)
    assert peer is not None  # noqa: S101 - it is one of the web
    with StowClient(peer) as client:
        return client.probe()


def _certificate(about: str, url: str, answer: HttpAnswer) -> list[Finding]:
    ends_at = answer.tls["notAfter"] if answer.tls else ""
    if not ends_at:
        return []
    ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(ends_at), UTC)
    theirs = expiry(about, f"the certificate of {url}", ends, datetime.now(UTC))
    if theirs.verdict is Verdict.OK:
        return []
    advice = "tell its administrator: once it has expired nothing is sent there"
    return [warning(about, theirs.words, advice)]


def _readable_by_others(destination: DestinationSettings, about: str) -> Iterator[Finding]:
    auth = destination.auth
    if auth is None:
        return
    for path in filter(None, (auth.token_file, auth.password_file, auth.client_secret_file)):
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
        except OSError:  # who asks for it has told
            continue
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            yield warning(about, f"{path} can be read by others (mode {mode:04o})", f"chmod 600 {path}")
