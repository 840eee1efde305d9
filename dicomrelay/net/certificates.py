"""What stands in certificate files: names and dates, for people who look after them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dicomrelay.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate of a file; times are aware, of UTC."""

    subject: str
    issuer: str
    begins: datetime
    ends: datetime


def read_certificates(path: Path) -> list[Certificate]:
    """All certificates of a PEM file, in its order.

    Raises
    ------
    ConfigurationError
        It cannot be read, or holds none.
    """
    try:
        # Late: a tenth of a second that only those with certificates pay.
        from cryptography import x509  # noqa: PLC0415

        found = x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigurationError(f"{path}: holds no certificate in PEM form") from error
    return [
        Certificate(
            each.subject.rfc4514_string(),
            each.issuer.rfc4514_string(),
            each.not_valid_before_utc,
            each.not_valid_after_utc,
        )
        for each in found
    ]


def out_of_date(path: Path, now: datetime | None = None) -> str:
    """What is wrong with the days of the certificates of a file, in words; "" for nothing, and for a file that is none."""
    moment = now or datetime.now(UTC)
    try:
        found = read_certificates(path)
    except ConfigurationError:
        return ""
    for each in found:
        if each.ends <= moment:
            return f"{path}: {each.subject} expired on {each.ends:%Y-%m-%d}"
        if each.begins > moment:
            return f"{path}: {each.subject} is not valid before {each.begins:%Y-%m-%d %H:%M}Z"
    return ""
