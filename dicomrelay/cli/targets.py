"""Where `dicomrelay send` sends to, as its options and the settings name it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from dicomrelay.delivery import Target
from dicomrelay.errors import ConfigurationError
from dicomrelay.routing import Destination, resolve, target_of
from dicomrelay.routing.book import rule_set
from dicomrelay.settings import Settings, TransferSyntaxPolicy


def find_target(
    text: str,
    settings: Settings,
    *,
    calling_ae_title: str | None = None,
    window: int | None = None,
    transcode: bool | None = None,
) -> tuple[Target, Destination]:
    """The destination of that name or address, with the options that win over its settings.

    Parameters
    ----------
    window : int, optional
        Operations outstanding at once.
    transcode : bool, optional
        Whether a copy may be sent in another transfer syntax, without loss, where the peer refuses the file's own.

    Raises
    ------
    ConfigurationError
        There is no such destination; a file of its TLS or identity cannot be read; it must never be transcoded for; rules
        send it edited copies.
    """
    destination = resolve(text, settings.destinations)
    _refuse_what_rules_edit(destination, settings)
    policy = _policy(destination, transcode)
    target = target_of(destination, settings, calling_ae_title=calling_ae_title, window=window, policy=policy)
    return target, destination


def _refuse_what_rules_edit(destination: Destination, settings: Settings) -> None:
    """No rule is asked here: the original would go where the rules send copies without names."""
    there = (destination.ae_title, destination.host, destination.port)
    path = _path(destination.web.url if destination.web else None)
    known = [
        each
        for each in settings.destinations
        if each.name == destination.name
        or ((each.ae_title, each.host, each.port) == there and _path(each.url) == path)
    ]
    # One with edits of its own gets those by every way.
    names = {each.name for each in known if each.edits is None}
    if not names or not settings.edits:
        return
    rules = rule_set(settings).settings
    edits = next((each.edits for each in rules if each.edits and names.intersection(each.send_to)), None)
    if edits is not None:
        raise ConfigurationError(
            f"--direct: rules send {destination.name} copies edited by {edits!r}, and no rule is asked here: send it without "
            "--direct, or set `edits` of the destination itself"
        )


def _path(url: str | None) -> str | None:
    """Tells the web services of one host apart; None for a peer that is no web service."""
    return None if url is None else urlsplit(url).path


def in_force(target: Target, destination: Destination) -> dict[str, Any]:
    """What a session goes by, for its summary: the options that won, and the settings of the destination."""
    timeouts = target.peer.timeouts
    return {
        **destination.in_force(),
        "address": str(target.peer.remote),
        "calling_ae_title": target.peer.calling_ae_title,
        "window": target.window,
        "transfer_syntax_policy": target.policy.value,
        "connect_timeout_s": timeouts.connect_s,
        "association_timeout_s": timeouts.association_s,
        "response_timeout_s": timeouts.response_s,
        "pdu_timeout_s": timeouts.pdu_s,
    }


def _policy(destination: Destination, transcode: bool | None) -> TransferSyntaxPolicy:
    if destination.web is not None and transcode:
        raise ConfigurationError(f"--transcode: {destination.name} takes STOW-RS, which negotiates nothing")
    if destination.policy is TransferSyntaxPolicy.NEVER and transcode:
        raise ConfigurationError(
            f'--transcode: {destination.name} has transfer_syntax_policy = "never", which no option changes'
        )
    if transcode is None or destination.policy is TransferSyntaxPolicy.NEVER:
        return destination.policy
    return TransferSyntaxPolicy.LOSSLESS if transcode else TransferSyntaxPolicy.AS_IS
