"""Who may call, and as whom: what the gateway reads of the settings when it starts."""

from __future__ import annotations

from collections.abc import Iterator

from dicomrelay.cli.checks.finding import Finding, failed, ok
from dicomrelay.errors import ConfigurationError, ExitCode
from dicomrelay.settings import Settings
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
