"""JSON web tokens as user identity: signature, issuer, audience, expiry (RFC 7519, RFC 8725)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import jwt
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from dicomrelay.errors import ConfigurationError
from dicomrelay.settings import TokenSettings

_MIN_SECRET_BYTES: Final = 32  # RFC 7518 Section 3.2


@dataclass(frozen=True, slots=True)
class TokenCheck:
    """Checks tokens by the settings.

    Raises
    ------
    ConfigurationError
        The key file cannot be read, or its key is none for an algorithm of the list.
    """

    settings: TokenSettings
    key: str | bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", _token_key(self.settings))

    def subject(self, raw: bytes) -> tuple[str, str]:
        """The `sub` of a token that holds, and ""; or "" and why it does not, which quotes nothing of it."""
        wanted = self.settings
        try:
            claims = jwt.decode(
                raw,
                self.key,
                algorithms=list(wanted.algorithms),
                issuer=wanted.issuer,
                audience=wanted.audience,
                leeway=wanted.leeway_s,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.PyJWTError as error:  # its name tells why, its words may quote the token
            return "", type(error).__name__
        except (ValueError, RecursionError) as error:  # JSON that is none, or nested too deeply
            return "", type(error).__name__
        subject = claims["sub"]
        if (
            not isinstance(subject, str)
            or not subject.strip()
            or not subject.isprintable()
            or len(subject) > 256
        ):
            return "", "its subject is no name"
        return subject, ""


def _token_key(settings: TokenSettings) -> str | bytes:
    """The key of a file, tried with every algorithm of the list."""
    path, where = settings.key_file, "gateway.identity.token.key_file"
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{where}: {path} cannot be read: {error.strerror}") from error
    if settings.algorithms[0].startswith("HS"):
        if len(raw.strip()) < _MIN_SECRET_BYTES:
            raise ConfigurationError(
                f"{where}: the secret in {path} is shorter than {_MIN_SECRET_BYTES} bytes"
            )
        return raw.strip()
    key = _public_key(raw, path, where)
    for name in settings.algorithms:
        try:
            jwt.get_algorithm_by_name(name).prepare_key(key)
        except (jwt.PyJWTError, TypeError, ValueError):
            raise ConfigurationError(f"{where}: the key in {path} is none for {name}") from None
    return key


def _public_key(raw: bytes, path: Path, where: str) -> str:
    try:
        is_certificate = b"BEGIN CERTIFICATE" in raw
        key = x509.load_pem_x509_certificate(raw).public_key() if is_certificate else load_pem_public_key(raw)
    except (ValueError, TypeError):
        raise ConfigurationError(
            f"{where}: {path} is no PEM file with a public key or a certificate"
        ) from None
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
