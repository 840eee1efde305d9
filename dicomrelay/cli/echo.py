"""`dicomrelay echo`: a C-ECHO, and of a DICOMweb destination a search that finds nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Final

import click

from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.dicom.status import status_name
from dicomrelay.dicom.transfer_syntaxes import IMPLICIT_VR_LITTLE_ENDIAN
from dicomrelay.dicom.uids import VERIFICATION
from dicomrelay.errors import ConfigurationError, ExitCode, RelayError
from dicomrelay.net.proposal import RemoteAe
from dicomrelay.routing import Destination, resolve
from dicomrelay.settings import GatewaySettings
from dicomrelay.text import shown

_AT_ONCE: Final = 16


@dataclass(slots=True)
class Echo:
    """What became of the echoes to one destination; times in milliseconds."""

    destination: str
    address: str
    association_ms: float | None = None  # connect and negotiate
    echo_ms: list[float] = field(default_factory=list)
    status: int | None = None  # of the last response
    http_status: int | None = None  # likewise, of a DICOMweb destination
    error: str = ""
    exit_code: int = ExitCode.OK


@dataclass(frozen=True, slots=True)
class _Call:
    gateway: GatewaySettings
    calling_ae_title: str | None
    timeout_s: float | None
    repeat: int


@relay_command(
    about="Ask a peer for a C-ECHO: is it there, does it know us? A DICOMweb destination is asked for a study that nobody has. "
    "With --all, every destination of the settings at once.",
    examples="dicomrelay echo pacs\ndicomrelay echo PACS@10.0.0.9:104 --repeat 5\ndicomrelay echo --all --json",
)
@click.argument("destinations", metavar="[DESTINATION]...", nargs=-1)
@click.option("--all", "every", is_flag=True, help="All destinations of the settings.")
@click.option(
    "--repeat",
    type=click.IntRange(1, 10_000),
    default=1,
    show_default=True,
    help="Echoes on the association.",
)
@click.option("-c", "--calling-ae", help="What we call ourselves.  [default: gateway.ae_title]")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0.1, 86_400),
    help="Seconds to wait for a response.  [default: response_timeout_s of the destination, or 60]",
)
def command(
    invocation: Invocation,
    destinations: tuple[str, ...],
    every: bool,
    repeat: int,
    calling_ae: str | None,
    timeout_s: float | None,
) -> int:
    settings = invocation.settings
    names = [each.name for each in settings.destinations] if every else list(destinations)
    if every and destinations:
        raise ConfigurationError("--all asks every destination of the settings: name none, or leave it out")
    if not names:
        what = "the settings have no destination" if every else "name a destination, or all of them by --all"
        raise ConfigurationError(f"nothing to ask: {what}")
    known = [resolve(name, settings.destinations) for name in names]
    call = _Call(settings.gateway, calling_ae, timeout_s, repeat)
    with ThreadPoolExecutor(min(len(known), _AT_ONCE)) as pool:
        echoes = list(pool.map(lambda each: _ask(each, call), known))
    for echo in echoes:
        invocation.say(_words(echo))
    if invocation.as_json:
        rows = [asdict(echo) for echo in echoes]
        if every or len(rows) > 1:
            invocation.emit(rows)
        else:
            invocation.emit(rows[0])
    return _exit_code(echoes)


def _ask(destination: Destination, call: _Call) -> Echo:
    """What one destination says; one that cannot be called as it is set hinders no other."""
    if destination.web is not None:
        return _ask_the_web(destination, destination.web.url, call)
    remote = RemoteAe(destination.ae_title, destination.host, destination.port)
    echo = Echo(destination.name, str(remote))
    started = time.monotonic()
    try:
        peer = destination.peer(
            call.gateway, calling_ae_title=call.calling_ae_title, timeout_s=call.timeout_s
        )
        with peer.associate([(VERIFICATION, (IMPLICIT_VR_LITTLE_ENDIAN,))]) as association:
            echo.association_ms = _since(started)
            for _ in range(call.repeat):
                started = time.monotonic()
                echo.status = association.echo()
                echo.echo_ms.append(_since(started))
                if echo.status:
                    echo.exit_code = ExitCode.SOME_FAILED
    except RelayError as error:
        echo.error, echo.exit_code = shown(str(error)), error.exit_code
    return echo


def _ask_the_web(destination: Destination, url: str, call: _Call) -> Echo:
    from dicomrelay.web.stow import StowClient  # noqa: PLC0415 - HTTP only where it is spoken

    echo = Echo(destination.name, url)
    try:
        peer = destination.web_peer(
            call.gateway, calling_ae_title=call.calling_ae_title, timeout_s=call.timeout_s
        )
        assert peer is not None  # noqa: S101 - it has a URL
        with StowClient(peer) as client:
            for _ in range(call.repeat):
                started = time.monotonic()
                echo.http_status = client.probe().status
                echo.echo_ms.append(_since(started))
    except RelayError as error:
        echo.error, echo.exit_code = shown(str(error)), error.exit_code
    return echo


def _since(started: float) -> float:
    return round((time.monotonic() - started) * 1000, 1)


def _words(echo: Echo) -> str:
    head = echo.address if echo.destination == echo.address else f"{echo.destination} ({echo.address})"
    if echo.error or (echo.status is None and echo.http_status is None):
        return f"{head}: {echo.error}"
    times = sorted(echo.echo_ms)
    how_long = f"echo {times[0]:.1f} ms"
    if len(times) > 1:
        median = times[len(times) // 2]
        how_long = f"{len(times)} echoes {times[0]:.1f} to {times[-1]:.1f} ms, median {median:.1f} ms"
    if echo.status is None:
        return f"{head}: answers HTTP {echo.http_status} ({how_long})"
    return f"{head}: {status_name(echo.status)} (association {echo.association_ms:.1f} ms, {how_long})"


def _exit_code(echoes: Sequence[Echo]) -> int:
    """Nobody answered: that peer's code. Of several, some answered and some did not: 1."""
    codes = {echo.exit_code for echo in echoes}
    return codes.pop() if len(codes) == 1 else ExitCode.SOME_FAILED
