"""A peer as the options and the settings name it, ready to be called."""

from __future__ import annotations

from dicomrelay.delivery import Target, TransferSyntaxPolicy
from dicomrelay.errors import ConfigurationError
from dicomrelay.net.identity import shown_identity
from dicomrelay.net.requestor import RemoteAe, Timeouts
from dicomrelay.routing.destinations import Destination, resolve
from dicomrelay.settings import DestinationSettings, Settings


def target_of(
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
        There is no such destination; a file of its TLS or identity cannot be read; it must never be transcoded for.
    """
    destination = resolve(text, settings.destinations)
    own = next((each for each in settings.destinations if each.name == text), None)
    identity = own.identity if own else None
    target = Target(
        remote=RemoteAe(destination.ae_title, destination.host, destination.port),
        calling_ae_title=calling_ae_title or destination.calling_ae_title or settings.gateway.ae_title,
        timeouts=Timeouts(connect_s=destination.connect_timeout_s, response_s=destination.response_timeout_s),
        tls=destination.tls_context(),
        identity=shown_identity(identity) if identity else None,
        window=window or destination.window,
        policy=_policy(own, text, transcode),
    )
    return target, destination


def _policy(own: DestinationSettings | None, name: str, transcode: bool | None) -> TransferSyntaxPolicy:
    policy = (
        TransferSyntaxPolicy(getattr(own, "transfer_syntax_policy", "as_is"))
        if own
        else TransferSyntaxPolicy.AS_IS
    )
    if policy is TransferSyntaxPolicy.NEVER and transcode:
        raise ConfigurationError(
            f'--transcode: {name} has transfer_syntax_policy = "never", which no option changes'
        )
    if transcode is None or policy is TransferSyntaxPolicy.NEVER:
        return policy
    return TransferSyntaxPolicy.LOSSLESS if transcode else TransferSyntaxPolicy.AS_IS
