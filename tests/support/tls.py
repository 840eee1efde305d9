"""What the tests of TLS share: calls, faults, and a client that is not ours."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from time import monotonic, sleep

import pytest

from dicomrelay.errors import TlsFailed, TlsFault
from dicomrelay.net.requestor import Association
from dicomrelay.net.tls import requestor_context
from dicomrelay.settings import DestinationTlsSettings
from tests.support.certificates import Authority
from tests.support.engine import CT_IMAGE_STORAGE, EXPLICIT_VR_LITTLE_ENDIAN, Running

CT = (CT_IMAGE_STORAGE, (EXPLICIT_VR_LITTLE_ENDIAN,))


def call(running: Running, tls: DestinationTlsSettings | None, **more: object) -> Association:
    """An association to it, with TLS or without."""
    context = requestor_context(tls) if tls is not None else None
    return Association.request(running.remote, calling_ae_title="TEST", contexts=[CT], tls=context, **more)  # type: ignore[arg-type]


def fault_of(running: Running, tls: DestinationTlsSettings | None) -> tuple[TlsFault, str]:
    """What a call ends with."""
    with pytest.raises(TlsFailed) as caught:
        call(running, tls).release()
    return caught.value.fault, str(caught.value)


def until(holds: Callable[[], bool], seconds: float = 5) -> None:
    """Wait for it."""
    deadline = monotonic() + seconds
    while not holds():
        assert monotonic() < deadline
        sleep(0.02)


def client(authority: Authority) -> ssl.SSLContext:
    """A client that is not ours, and allows everything that OpenSSL has."""
    return ssl.create_default_context(cafile=str(authority.path))
