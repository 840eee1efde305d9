"""Texts from the wire, as every database takes them.

A NUL makes PostgreSQL refuse the statement and a lone surrogate the driver, and the batch that holds it would be refused
again and again. An index holds no text that is too long.
"""

from __future__ import annotations

from typing import Final

# Longer than any UID, AE title, comment or path that is one.
TEXT_LIMIT: Final = 1024


def storable(value: str) -> str:
    """The text with what no database takes replaced by a question mark, cut to TEXT_LIMIT characters."""
    return value.replace("\0", "?").encode("utf-8", "replace").decode()[:TEXT_LIMIT]


def path_bytes(path: str) -> bytes:
    """A path without loss: names on disk need not be text, and are then held with surrogates."""
    return path.encode("utf-8", "surrogatepass")


def path_text(stored: bytes) -> str:
    """The path that `path_bytes` was given."""
    return stored.decode("utf-8", "surrogatepass")
