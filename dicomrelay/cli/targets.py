"""A peer as the options and the settings name it, ready to be called."""

from __future__ import annotations

from dicomrelay.delivery import Target, TransferSyntaxPolicy
from dicomrelay.errors import ConfigurationError
from dicomrelay.net.requestor import RemoteAe, Timeouts
from dicomrelay.routing.destinations import Destination, resolve
from dicomrelay.runtime import home
from dicomrelay.settings import Settings
from dicomrelay.transcode import TranscodeLimits


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
    target = Target(
        remote=RemoteAe(destination.ae_title, destination.host, destination.port),
        calling_ae_title=calling_ae_title or destination.calling_ae_title or settings.gateway.ae_title,
        timeouts=Timeouts(connect_s=destination.connect_timeout_s, response_s=destination.response_timeout_s),
        tls=destination.tls_context(),
        identity=destination.user_identity(),
        window=window or destination.window,
        policy=_policy(destination, transcode),
        copies=home.copies_folder(settings),
        limits=TranscodeLimits(min_free_bytes=settings.gateway.min_free_bytes),
    )
    return target, destination


def _policy(destination: Destination, transcode: bool | None) -> TransferSyntaxPolicy:
    if destination.policy is TransferSyntaxPolicy.NEVER and transcode:
        raise ConfigurationError(
            f'--transcode: {destination.name} has transfer_syntax_policy = "never", which no option changes'
        )
    if transcode is None or destination.policy is TransferSyntaxPolicy.NEVER:
        return destination.policy
    return TransferSyntaxPolicy.LOSSLESS if transcode else TransferSyntaxPolicy.AS_IS
