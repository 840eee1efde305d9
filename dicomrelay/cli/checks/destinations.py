"""Every destination: does it take a connection, TLS, an association, a C-ECHO; or does it answer over the web."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from time import monotonic
from typing import Final

from dicomrelay.cli.checks.certificates import expiry
from dicomrelay.cli.checks.finding import Finding, Verdict, failed, ok, warning
from dicomrelay.cli.checks.web_destinations import check_web_destination
from dicomrelay.cli.peer import find_peer
from dicomrelay.dicom.status import status_name
from dicomrelay.dicom.transfer_syntaxes import IMPLICIT_VR_LITTLE_ENDIAN
from dicomrelay.dicom.uids import VERIFICATION
from dicomrelay.errors import ConfigurationError, ExitCode, NoAcceptedContext, RelayError
from dicomrelay.net.outcomes import judge
from dicomrelay.settings import DestinationProtocol, DestinationSettings, Settings
from dicomrelay.text import shown

_AT_ONCE: Final = 16


def check_destinations(settings: Settings, timeout_s: float) -> Iterator[Finding]:
    """All of them, at once; `timeout_s` bounds each step."""
    if not settings.destinations:
        yield ok("destinations", "none in the settings: what arrives is archived and goes nowhere else")
        return
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for findings in pool.map(lambda each: _check(settings, each, timeout_s), settings.destinations):
            yield from findings


def _check(settings: Settings, destination: DestinationSettings, timeout_s: float) -> list[Finding]:
    if destination.kind is DestinationProtocol.DICOMWEB:
        return check_web_destination(settings, destination, timeout_s)
    about = f"destination {destination.name}"
    where = f"{destination.ae_title}@{destination.host}:{destination.port}"
    began = monotonic()
    try:
        peer = find_peer(settings, destination.name, timeout_s=timeout_s)
        with peer.associate([(VERIFICATION, (IMPLICIT_VR_LITTLE_ENDIAN,))]) as association:
            status = association.echo()
            tls = association.tls
    except NoAcceptedContext:
        return [
            warning(
                about,
                f"{where} takes associations, and no C-ECHO",
                "whether it stores shows at the first study",
            )
        ]
    except ConfigurationError as error:
        return [failed(about, str(error), "correct the setting", ExitCode.USAGE)]
    except RelayError as error:
        return [failed(about, shown(str(error)), judge(error).advice, error.exit_code)]
    milliseconds = round((monotonic() - began) * 1000)
    under = f" under {tls.version}" if tls is not None else ""
    if status != 0:
        words = f"{where} answers C-ECHO with {status_name(status)}"
        return [failed(about, words, "its log says why", ExitCode.UNREACHABLE)]
    found = [ok(about, f"{where} answers C-ECHO{under} ({milliseconds} ms)")]
    if tls is not None and tls.certificate_ends_s is not None:
        ends = datetime.fromtimestamp(tls.certificate_ends_s, UTC)
        theirs = expiry(about, f"the certificate of {where}", ends, datetime.now(UTC))
        if theirs.verdict is not Verdict.OK:
            found.append(
                warning(
                    about, theirs.words, "tell its administrator: once it has expired nothing is sent there"
                )
            )
    return found
