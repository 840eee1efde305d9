"""What OpenSSL says, as one sentence for people and a `TlsFault` for programs.

Pure: errors in, errors out. Alerts are those of RFC 8446 Section 6, codes of verification those of OpenSSL's X509_V_ERR_*.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Final

from dicomrelay.errors import TlsFailed, TlsFault

# ContentType of a TLS record (RFC 8446 Section 5.1).
ALERT: Final = 0x15
HANDSHAKE: Final = 0x16

# AlertDescription (RFC 8446 Section 6).
UNEXPECTED_MESSAGE: Final = 10
ACCESS_DENIED: Final = 49
INTERNAL_ERROR: Final = 80

ADVICE: Final[Mapping[TlsFault, str]] = {
    TlsFault.PLAIN_PEER: "turn TLS on there, or off here (a gateway takes both with allow_plain)",
    TlsFault.TLS_PEER: "turn TLS on here, or off there",
    TlsFault.EXPIRED: "its certificate has to be renewed; check the clocks of both machines too",
    TlsFault.WRONG_HOST: "use a name that stands in its certificate as host, or have one issued for this name",
    TlsFault.UNTRUSTED: "put the authority that issued its certificate, and those in between, into the file of `ca`",
    TlsFault.NO_CERTIFICATE: "set `certificate` and `key` on the side that connects",
    TlsFault.REFUSED: "let its administrator trust the authority of our certificate, or look into its log",
    TlsFault.OURS_IS_OVER: "renew our certificate; check the clocks of both machines too",
    TlsFault.NOTHING_IN_COMMON: "it needs TLS 1.2 or 1.3 with ECDHE and AES-GCM (PS3.15 Annex B.12), and a certificate",
    TlsFault.PEER_TROUBLE: "it is tried again; its log says more",
    TlsFault.OTHER: "the logs of both ends say more",
}

# For a table, where the peer's own case is not told.
WORDS: Final[Mapping[TlsFault, str]] = {
    TlsFault.PLAIN_PEER: "the peer speaks plain DICOM, we TLS",
    TlsFault.TLS_PEER: "the peer speaks TLS, we plain DICOM",
    TlsFault.EXPIRED: "the peer's certificate has expired, or is not valid yet",
    TlsFault.WRONG_HOST: "the peer's certificate is of another host",
    TlsFault.UNTRUSTED: "the peer's certificate is of no authority that we trust",
    TlsFault.NO_CERTIFICATE: "a certificate is asked for and none is shown",
    TlsFault.REFUSED: "the peer does not take our certificate, or us",
    TlsFault.OURS_IS_OVER: "our certificate has expired, or was revoked",
    TlsFault.NOTHING_IN_COMMON: "no version or cipher suite of TLS in common",
    TlsFault.PEER_TROUBLE: "the peer has no room, or a fault of its own",
    TlsFault.OTHER: "TLS could not be agreed on",
}

# X509_V_ERR_*: CERT_NOT_YET_VALID, CERT_HAS_EXPIRED; HOSTNAME_MISMATCH, IP_ADDRESS_MISMATCH; the others are about the chain.
_VERIFY: Final[Mapping[int, tuple[TlsFault, str]]] = {
    9: (TlsFault.EXPIRED, "its certificate is not valid yet"),
    10: (TlsFault.EXPIRED, "its certificate, or one of its authorities, has expired"),
    18: (TlsFault.UNTRUSTED, "its certificate is signed by itself, and not among those we trust"),
    19: (TlsFault.UNTRUSTED, "the authority of its certificate is not among those we trust"),
    20: (TlsFault.UNTRUSTED, "the authority of its certificate is not among those we trust"),
    21: (TlsFault.UNTRUSTED, "the authority of its certificate is not among those we trust"),
    26: (TlsFault.UNTRUSTED, "its certificate was issued for another purpose (extended key usage)"),
    62: (TlsFault.WRONG_HOST, "its certificate is of another host"),
    64: (TlsFault.WRONG_HOST, "its certificate is of another address"),
}

# What the peer said, by OpenSSL's name of the alert.
_ALERTS: Final[Mapping[str, tuple[TlsFault, str]]] = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": (TlsFault.NO_CERTIFICATE, "it asks for a certificate of ours"),
    "TLSV1_ALERT_UNKNOWN_CA": (TlsFault.REFUSED, "it does not trust the authority of our certificate"),
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": (TlsFault.OURS_IS_OVER, "our certificate has expired, it says"),
    "SSLV3_ALERT_CERTIFICATE_REVOKED": (TlsFault.OURS_IS_OVER, "our certificate has been revoked, it says"),
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": (TlsFault.REFUSED, "it does not accept our certificate"),
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": (TlsFault.REFUSED, "it cannot use our certificate"),
    "SSLV3_ALERT_BAD_CERTIFICATE": (TlsFault.REFUSED, "it does not accept our certificate"),
    "TLSV1_ALERT_ACCESS_DENIED": (TlsFault.REFUSED, "it lets nobody in from here"),
    "TLSV1_ALERT_DECRYPT_ERROR": (TlsFault.REFUSED, "it could not verify our handshake"),
    "SSLV3_ALERT_NO_CERTIFICATE": (TlsFault.NO_CERTIFICATE, "it asks for a certificate of ours"),
    "SSLV3_ALERT_HANDSHAKE_FAILURE": (
        TlsFault.NOTHING_IN_COMMON,
        "it agrees to no cipher suite of ours, or asks for a certificate",
    ),
    "TLSV1_ALERT_INSUFFICIENT_SECURITY": (
        TlsFault.NOTHING_IN_COMMON,
        "our cipher suites are too weak for it",
    ),
    "TLSV1_ALERT_PROTOCOL_VERSION": (TlsFault.NOTHING_IN_COMMON, "it speaks no version of TLS that we do"),
    "TLSV1_ALERT_INTERNAL_ERROR": (TlsFault.PEER_TROUBLE, "it has no room, or a fault of its own"),
    "SSLV3_ALERT_UNEXPECTED_MESSAGE": (TlsFault.OTHER, "it did not expect what we sent"),
}

# What we found ourselves.
_OURS: Final[Mapping[str, tuple[TlsFault, str]]] = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": (TlsFault.NO_CERTIFICATE, "it shows no certificate"),
    "NO_SHARED_CIPHER": (TlsFault.NOTHING_IN_COMMON, "it offers no cipher suite of ours"),
    "NO_SUITABLE_SIGNATURE_ALGORITHM": (
        TlsFault.NOTHING_IN_COMMON,
        "it cannot check our certificate's kind of signature",
    ),
    "UNSUPPORTED_PROTOCOL": (TlsFault.NOTHING_IN_COMMON, "it speaks no version of TLS that we do"),
    "WRONG_VERSION_NUMBER": (TlsFault.PLAIN_PEER, "it speaks no TLS"),
    "HTTP_REQUEST": (TlsFault.PLAIN_PEER, "it speaks HTTP without TLS"),
    "DH_KEY_TOO_SMALL": (TlsFault.NOTHING_IN_COMMON, "its key exchange is too weak"),
    "EE_KEY_TOO_SMALL": (TlsFault.UNTRUSTED, "the key of its certificate is too short"),
    "CA_KEY_TOO_SMALL": (TlsFault.UNTRUSTED, "the key of its authority is too short"),
    "CA_MD_TOO_WEAK": (
        TlsFault.UNTRUSTED,
        "its certificate is signed with an algorithm that is no longer safe",
    ),
}


def explain(error: ssl.SSLError, peer: str) -> TlsFailed:
    """The error that a handshake, or the first words after it, ended with.

    Parameters
    ----------
    error : ssl.SSLError
    peer : str
        Whom it is about: "PACS at 10.0.0.9 port 2762".
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        default = (TlsFault.UNTRUSTED, f"its certificate does not hold: {error.verify_message}")
        fault, words = _VERIFY.get(error.verify_code, default)
    else:
        reason = error.reason or "unknown error"
        default = (TlsFault.OTHER, f"TLS ended with {reason.replace('_', ' ').lower()}")
        fault, words = _ALERTS.get(reason) or _OURS.get(reason) or default
    return failed(peer, fault, words)


def failed(peer: str, fault: TlsFault, words: str) -> TlsFailed:
    """The error for a fault, with what to do."""
    return TlsFailed(f"TLS with {peer} failed: {words}; {ADVICE[fault]}", fault=fault)


def alert(description: int) -> bytes:
    """A fatal alert in a record without encryption: what a TLS client understands before any handshake."""
    # type, version 3.3, length 2; level fatal (RFC 8446 Sections 5.1 and 6)
    return bytes((ALERT, 3, 3, 0, 2, 2, description))
