"""Contexts for TLS from the settings: versions, suites, certificates, who is trusted (PS3.15 Annex B.12).

A context is made anew when one of its files changes, so that a renewed certificate is taken without a restart.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from dicomrelay.errors import ConfigurationError
from dicomrelay.log import get_logger
from dicomrelay.net.certificates import out_of_date
from dicomrelay.settings import DestinationTlsSettings, HttpTlsSettings, Settings, TlsSettings

_log = get_logger("dicomrelay.net")

_ContextSource = Callable[[], ssl.SSLContext]


@dataclass(frozen=True, slots=True)
class TlsDoor:
    """What a listener does about TLS.

    Attributes
    ----------
    context : callable
        The context of the next association.
    allow_plain : bool
        Whether DICOM without TLS is taken too.
    """

    context: Callable[[], ssl.SSLContext]
    allow_plain: bool = False


# RFC 9325 Section 4.2. The level asks for keys of 112 bits of security and more: RSA of 2048 bits.
_SUITES: Final = (
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:@SECLEVEL=2"
)
_MINIMUM: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_TOO_WEAK: Final = frozenset({"EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK", "DH_KEY_TOO_SMALL"})

_Stamp = tuple[tuple[int, int, int] | None, ...]


def acceptor_context(settings: TlsSettings) -> ssl.SSLContext:
    """A context for the listener, from the files as they are now.

    Raises
    ------
    ConfigurationError
        A file cannot be read or holds something else, or the key does not belong to the certificate; it names the file.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER, settings.minimum)
    context.num_tickets = 0
    _load_own(context, settings.certificate, settings.key, "gateway.tls")
    if settings.ca is not None:
        _load_ca(context, settings.ca, "gateway.tls")
        context.verify_mode = ssl.CERT_REQUIRED if settings.require_client_certificate else ssl.CERT_OPTIONAL
    return context


def door(settings: TlsSettings) -> TlsDoor:
    """What the listener needs: `acceptor_context`, made anew when a file changes.

    Raises
    ------
    ConfigurationError
        As `acceptor_context`, now; later such a fault is logged and the context before it stays in use.
    """
    files = [path for path in (settings.certificate, settings.key, settings.ca) if path is not None]
    return TlsDoor(_Renewed(lambda: acceptor_context(settings), files), settings.allow_plain)


def http_door(settings: HttpTlsSettings, where: str) -> Callable[[], ssl.SSLContext]:
    """The context of the next connection to a service that speaks HTTP/1.1; made anew when a file changes.

    Parameters
    ----------
    where : str
        The setting, for the words of errors.

    Raises
    ------
    ConfigurationError
        As `acceptor_context`, now; later such a fault is logged and the context before it stays in use.
    """

    def build() -> ssl.SSLContext:
        context = _context(ssl.PROTOCOL_TLS_SERVER, settings.minimum)
        context.num_tickets = 0
        context.set_alpn_protocols(["http/1.1"])
        _load_own(context, settings.certificate, settings.key, where)
        return context

    return _Renewed(build, [path for path in (settings.certificate, settings.key) if path is not None])


def requestor_context(settings: DestinationTlsSettings, *, where: str = "destinations.tls") -> ssl.SSLContext:
    """The context for associations to a destination; made once, and anew when a file changes.

    Parameters
    ----------
    where : str
        The setting, for the words of errors.

    Raises
    ------
    ConfigurationError
        A file cannot be read or holds something else, or the key does not belong to the certificate; it names the file.
    """
    with _requestors_lock:
        source = _requestors.get((settings, where))
        if source is None:
            files = [path for path in (settings.certificate, settings.key, settings.ca) if path is not None]
            source = _requestors[settings, where] = _Renewed(
                lambda: _requestor_context(settings, where), files
            )
    return source()


def check(settings: Settings) -> None:
    """Look at every file of the settings that TLS needs, so that a mistake is told at start and not by the first peer.

    Raises
    ------
    ConfigurationError
        The first that cannot be used.
    """
    if settings.gateway.tls is not None:
        acceptor_context(settings.gateway.tls)
    check_destinations(settings)


def check_destinations(settings: Settings) -> None:
    """`check`, for a process that only sends."""
    for destination in settings.destinations:
        if destination.tls is not None:
            requestor_context(destination.tls, where=f"destinations.{destination.name}.tls")


# One for each destination of the settings, at most.
_requestors: dict[tuple[DestinationTlsSettings, str], _ContextSource] = {}
_requestors_lock = threading.Lock()


def _requestor_context(settings: DestinationTlsSettings, where: str) -> ssl.SSLContext:
    context = _context(ssl.PROTOCOL_TLS_CLIENT, settings.minimum)
    context.check_hostname = settings.check_host
    if settings.ca is not None:
        _load_ca(context, settings.ca, where)
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if settings.certificate is not None:
        _load_own(context, settings.certificate, settings.key, where)
    return context


def _context(protocol: int, minimum: Literal["1.2", "1.3"]) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = _MINIMUM[minimum]
    context.set_ciphers(_SUITES)
    context.options |= (
        ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET | ssl.OP_CIPHER_SERVER_PREFERENCE
    )
    # So that a peer's own certificate can be trusted by itself, without the authority that issued it.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _load_own(context: ssl.SSLContext, certificate: Path, key: Path | None, where: str) -> None:
    name, key_name = f"{where}.certificate", f"{where}.key" if key else f"{where}.certificate"
    _expect(certificate, name, b"-----BEGIN CERTIFICATE-----", "certificate")
    text = _expect(key or certificate, key_name, b"PRIVATE KEY-----", "private key")
    if b"ENCRYPTED" in text:
        raise ConfigurationError(
            f"{key or certificate}: the private key has a password ({key_name}): store it without one, "
            "readable for the user of dicomrelay only"
        )
    try:
        context.load_cert_chain(
            certificate, key, password=""
        )  # an empty one, lest OpenSSL asks at the terminal
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ConfigurationError(
                f"{key or certificate}: the key does not belong to the certificate {certificate} ({name}): "
                "put the pair there that was made together"
            ) from error
        raise ConfigurationError(f"{certificate}: {_words(error)} ({name})") from error
    fault = out_of_date(certificate)
    if (
        fault
    ):  # it is used all the same: the other side may not look, and one that was renewed is taken at once
        _log.warning(
            "a certificate of ours is out of date", action="tls.out-of-date", reason=fault, setting=name
        )


def _load_ca(context: ssl.SSLContext, ca: Path, where: str) -> None:
    _expect(ca, f"{where}.ca", b"-----BEGIN CERTIFICATE-----", "certificate")
    try:
        context.load_verify_locations(ca)
    except ssl.SSLError as error:
        raise ConfigurationError(f"{ca}: {_words(error)} ({where}.ca)") from error


def _words(error: ssl.SSLError) -> str:
    if error.reason in _TOO_WEAK:
        return "key or signature is too weak: RSA needs 2048 bits, a signature SHA-256"
    return f"cannot be used: {(error.reason or 'damaged').replace('_', ' ').lower()}"


def _expect(path: Path, name: str, marker: bytes, what: str) -> bytes:
    """The file's text, when it is there and holds what it should."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror} ({name})") from error
    if marker not in text:
        raise ConfigurationError(f"{path}: holds no {what} in PEM form ({name})")
    return text


class _Renewed:
    """A context that is made anew when its files change. One that does not work any more leaves the old one in use."""

    def __init__(self, build: Callable[[], ssl.SSLContext], files: Sequence[Path]) -> None:
        self._build = build
        self._files = files
        self._lock = threading.Lock()
        self._stamp = _stamp(files)
        self._context = build()

    def __call__(self) -> ssl.SSLContext:
        stamp = _stamp(self._files)
        with self._lock:
            if stamp != self._stamp:
                self._stamp = stamp
                try:
                    self._context = self._build()
                    _log.info(
                        "certificates read again",
                        action="tls.renewed",
                        files=[str(each) for each in self._files],
                    )
                except ConfigurationError as error:
                    _log.error(
                        "changed certificates do not work, those before stay in use",
                        action="tls.not-renewed",
                        reason=str(error),
                    )
            return self._context


def _stamp(files: Sequence[Path]) -> _Stamp:
    """What tells a file from the one that was there before."""
    found: list[tuple[int, int, int] | None] = []
    for path in files:
        try:
            state = path.stat()
            found.append((state.st_mtime_ns, state.st_size, state.st_ino))
        except OSError:
            found.append(None)
    return tuple(found)
