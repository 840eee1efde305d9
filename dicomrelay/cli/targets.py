"""Where `dicomrelay send` sends to, as its options and the settings name it."""

from __future__ import annotations

from dicomrelay.delivery import Target
from dicomrelay.errors import ConfigurationError
from dicomrelay.routing import Destination, resolve, target_of
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
        There is no such destination; a file of its TLS or identity cannot be read; it must never be transcoded for.
    """
    destination = resolve(text, settings.destinations)
    policy = _policy(destination, transcode)
    target = target_of(destination, settings, calling_ae_title=calling_ae_title, window=window, policy=policy)
    return target, destination


def _policy(destination: Destination, transcode: bool | None) -> TransferSyntaxPolicy:
    if destination.policy is TransferSyntaxPolicy.NEVER and transcode:
        raise ConfigurationError(
            f'--transcode: {destination.name} has transfer_syntax_policy = "never", which no option changes'
        )
    if transcode is None or destination.policy is TransferSyntaxPolicy.NEVER:
        return destination.policy
    return TransferSyntaxPolicy.LOSSLESS if transcode else TransferSyntaxPolicy.AS_IS
