"""The digest of a head: preamble, prefix and file meta, which the digest of the data set does not cover."""

from __future__ import annotations

import hashlib

from archive.storage import Put


def head_digest(wanted: Put) -> str:
    """SHA-256 of the head that a file gets, in hexadecimal. Raises OSError when its source cannot be read."""
    if wanted.preface:
        return hashlib.sha256(wanted.preface).hexdigest()
    with wanted.source.open("rb") as source:
        return hashlib.sha256(source.read(wanted.digest_from)).hexdigest()
