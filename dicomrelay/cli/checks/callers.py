"""Who may call, and as whom: what the gateway reads of the settings when it starts."""

from __future__ import annotations

import socket
from collections.abc import Iterator

from dicomrelay.cli.checks.finding import Finding, failed, ok, warning
from dicomrelay.errors import ConfigurationError, ExitCode
from dicomrelay.net.callers import Callers
from dicomrelay.settings import Settings, is_loopback
from dicomrelay.settings.destinations import VerificationMethod
from scp_gateway import reception


def check_callers(settings: Settings) -> Iterator[Finding]:
    """[[peers]] and [gateway.identity], by the very check that `up` and the gateway make before they listen."""
    try:
        reception.check(settings)
    except ConfigurationError as error:
        yield failed(
            "callers",
            f"{error}",
            "correct the setting: `dicomrelay up` does not start with it",
            ExitCode.USAGE,
        )
        return
    peers = len(settings.peers)
    who = f"{peers} [[peers]]" if peers else "this machine only, no [[peers]]"
    identity = ", with user identity" if settings.gateway.identity is not None else ""
    yield ok("callers", f"{who}{identity}")
    yield from _reporters(settings)


def _reporters(settings: Settings) -> Iterator[Finding]:
    """A destination that commits to storage may report on an association of its own: then it calls us."""
    callers = Callers(settings.peers)
    for destination in settings.destinations:
        if destination.verification is not VerificationMethod.COMMITMENT:
            continue
        addresses = _addresses(destination.host)
        may_call = [
            is_loopback(address)
            if not settings.peers
            else callers.find(destination.ae_title, address) is not None
            for address in addresses
        ]
        if addresses and not any(may_call):
            yield warning(
                f"callers: {destination.name}",
                f"{destination.ae_title} at {destination.host} is asked for storage commitment and may not call us to report",
                "let it in by an entry of [[peers]], unless it reports on the association that asked",
            )


def _addresses(host: str) -> list[str]:
    """Those of a host; none when its name is not known, which is told of elsewhere."""
    try:
        return sorted({str(each[4][0]) for each in socket.getaddrinfo(host, None)})
    except OSError:
        return []
