"""A message as syslog carries it: RFC 5424 for its head, RFC 5425 for its frame."""

from __future__ import annotations

from datetime import UTC
from typing import Final

from dicomrelay.audit.values import Entry, Outcome

# RFC 5424 Table 1: security/authorization messages (private).
_FACILITY: Final = 10
# Table 2: notice, warning, error, critical.
_SEVERITY: Final = {
    Outcome.BEGUN: 5,
    Outcome.SUCCESS: 5,
    Outcome.MINOR: 4,
    Outcome.SERIOUS: 3,
    Outcome.MAJOR: 2,
}
_APP_NAME: Final = "dicomrelay"
# PS3.15 Section A.6.
_MESSAGE_ID: Final = "DICOM+RFC3881"
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


def message(entry: Entry, xml: bytes, *, host: str) -> bytes:
    """A syslog message (RFC 5424 Section 6).

    Parameters
    ----------
    host : str
        Our name; what a name may not have is left out.
    """
    priority = _FACILITY * 8 + _SEVERITY[entry.outcome]
    at = entry.at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    name = "".join(letter for letter in host if "!" <= letter <= "~")[:255] or "-"
    head = f"<{priority}>1 {at} {name} {_APP_NAME} - {_MESSAGE_ID} - "
    return head.encode("ascii") + _BYTE_ORDER_MARK + xml


def frame(content: bytes) -> bytes:
    """A message as a stream carries it (RFC 5425 Section 4.3)."""
    return b"%d %s" % (len(content), content)
