"""Unique identifiers (PS3.5 Section 9 and Annex B)."""

from __future__ import annotations

import hashlib
import re
import uuid
from typing import Final

from dicomrelay import __version__

# Derived from a UUID under 2.25 (PS3.5 Annex B.2); names this implementation on every association and file.
IMPLEMENTATION_CLASS_UID: Final = "2.25.199272540067046529134536731888475314995"
# At most 16 characters (PS3.7 Annex D.3.3.2.3).
IMPLEMENTATION_VERSION_NAME: Final = f"DICOMRELAY_{__version__.replace('.', '')}"[:16]
APPLICATION_CONTEXT_NAME: Final = "1.2.840.10008.3.1.1.1"
VERIFICATION: Final = "1.2.840.10008.1.1"

_UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))*", re.ASCII)
# What some equipment writes: leading zeros in a component. Harmless, so tolerated on receipt.
_LENIENT_UID = re.compile(r"[0-9]+(\.[0-9]+)*", re.ASCII)


def is_valid_uid(text: str) -> bool:
    """Whether `text` is a UID by PS3.5 Section 9.1: 1 to 64 characters, no leading zeros."""
    return 0 < len(text) <= 64 and _UID.fullmatch(text) is not None


def is_tolerable_uid(text: str) -> bool:
    """Whether `text` has only digits and single dots and at most 64 characters: what we accept from a peer."""
    return 0 < len(text) <= 64 and _LENIENT_UID.fullmatch(text) is not None


def derived_uid(*parts: str) -> str:
    """The same UID for the same parts, for ever: used where a data set lacks one that we need to file it under."""
    # Half of a pair is in no UTF-8, and in JSON that somebody sends.
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).digest()
    return f"2.25.{uuid.UUID(bytes=digest[:16], version=5).int}"
