"""A web service, and what is agreed about storing there: frozen values."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from dicomrelay.settings import DicomwebAuthSettings, Duplicates


@dataclass(frozen=True, slots=True)
class WebPolicy:
    """What the settings say of a destination that is reached over the web.

    Attributes
    ----------
    url : str
        What stands before `/studies`, without a slash at its end.
    auth : DicomwebAuthSettings, optional
        None: no credentials are shown.
    batch_instances, batch_bytes : int
        What goes into a request, at most; an instance that is longer goes alone.
    parallel_requests : int
        At once, in one transfer.
    """

    url: str
    auth: DicomwebAuthSettings | None = None
    batch_instances: int = 20
    batch_bytes: int = 50_000_000
    parallel_requests: int = 2
    duplicates: Duplicates = Duplicates.REFUSED

    def in_force(self) -> dict[str, str | int | float | bool | None]:
        """For the summary of a session; no secret is among them."""
        return {
            "url": self.url,
            "batch_instances": self.batch_instances,
            "batch_bytes": self.batch_bytes,
            "parallel_requests": self.parallel_requests,
            "credentials": self.auth is not None,
        }


@dataclass(frozen=True, slots=True)
class WebPeer:
    """A service and all that a request to it takes.

    Attributes
    ----------
    where : str
        The setting, for the words of errors: "destinations.cloud".
    calling_ae_title : str
        What we call ourselves in the file meta of what is sent.
    tls : ssl.SSLContext, optional
        For https.
    connect_s, response_s : float
        To connect, and again for TLS; from the last byte of a request to the last of its answer.
    """

    policy: WebPolicy
    where: str
    calling_ae_title: str
    tls: ssl.SSLContext | None = None
    connect_s: float = 10.0
    response_s: float = 60.0
