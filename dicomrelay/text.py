"""Words of others, made fit to be shown."""

from __future__ import annotations


def shown(text: str) -> str:
    """What a peer, a certificate or an error says, without the control characters that would drive a terminal."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )
