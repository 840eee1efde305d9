"""The peer of an SCU tool: what it is called, how long it is waited for, its TLS and our identity there."""

from __future__ import annotations

import signal
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import click

from dicomrelay.errors import RelayError
from dicomrelay.net.identity import shown_identity
from dicomrelay.net.limits import Timeouts
from dicomrelay.net.requestor import Association, RemoteAe
from dicomrelay.net.tls import requestor_context
from dicomrelay.routing.destinations import resolve
from dicomrelay.settings import Settings
from dicomrelay.ul.pdu import RoleSelection, UserIdentity


@dataclass(frozen=True, slots=True)
class Peer:
    """Another AE, and all that an association to it takes."""

    remote: RemoteAe
    calling_ae_title: str
    timeouts: Timeouts
    tls: ssl.SSLContext | None = None
    identity: UserIdentity | None = None

    def associate(
        self, contexts: Sequence[tuple[str, Sequence[str]]], roles: Sequence[RoleSelection] = ()
    ) -> Association:
        """Open an association.

        Raises
        ------
        AssociationError
            None came about.
        """
        return Association.request(
            self.remote,
            calling_ae_title=self.calling_ae_title,
            contexts=contexts,
            timeouts=self.timeouts,
            tls=self.tls,
            identity=self.identity,
            roles=roles,
        )


def find_peer(
    settings: Settings, text: str, calling_ae_title: str | None = None, timeout_s: float | None = None
) -> Peer:
    """A peer by the name of a destination in the settings, with its TLS and identity, or by AET@host:port.

    Raises
    ------
    ConfigurationError
        There is no such name, it is no address, or a file of its TLS or identity cannot be used.
    """
    target = resolve(text, settings.destinations)
    named = next((each for each in settings.destinations if each.name == text), None)
    timeouts = Timeouts(connect_s=target.connect_timeout_s, response_s=target.response_timeout_s)
    if timeout_s is not None:
        timeouts = replace(timeouts, connect_s=min(timeouts.connect_s, timeout_s), response_s=timeout_s)
    return Peer(
        RemoteAe(target.ae_title, target.host, target.port),
        calling_ae_title or target.calling_ae_title or settings.gateway.ae_title,
        timeouts,
        requestor_context(named.tls) if named is not None and named.tls is not None else None,
        shown_identity(named.identity) if named is not None and named.identity is not None else None,
    )


def peer_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`DESTINATION`, `--calling-ae` and `--timeout`."""
    function = click.option(
        "--timeout",
        "timeout_s",
        type=click.FloatRange(0.1, 86_400),
        help="Seconds to wait for a response.  [default: response_timeout_s of the destination, or 60]",
    )(function)
    function = click.option(
        "-c", "--calling-ae", help="What we call ourselves.  [default: gateway.ae_title]"
    )(function)
    return click.argument("destination")(function)


def cancel_on_signals() -> Callable[[], bool]:
    """Whether SIGINT or SIGTERM has come once, which asks for C-CANCEL; the second one is a KeyboardInterrupt."""
    came: list[int] = []

    def note(number: int, _frame: object) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, note)
    return lambda: bool(came)


def shown(text: str) -> str:
    """What a peer or an error says, without the control characters that would drive a terminal."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )


def reason(error: RelayError) -> str:
    """The words of an error, fit for a terminal."""
    return shown(str(error))
