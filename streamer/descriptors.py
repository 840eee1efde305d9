"""How many instances a streamer keeps open, by how many files the system lets it have."""

from __future__ import annotations

from typing import Final

from dicomrelay.runtime.descriptors import want_descriptors

# A few large studies that are scrolled through at once. Each instance has two files, its data and its frame index.
MOST: Final = 2048
_LEAST: Final = 64
_FILES: Final = 2
# Log, listener, index of the archive, copies, and whatever libraries hold.
_OTHERS: Final = 256


def instances_kept_open(connections: int) -> int:
    """Raise this process's limit as far as need be, and say how many instances there is room for.

    Parameters
    ----------
    connections : int
        How many there may be at once: each has a socket, and may read a file of its own.

    Returns
    -------
    int
        64 to 2048.
    """
    others = 2 * connections + _OTHERS
    limit = want_descriptors(others + _FILES * MOST)
    return max(_LEAST, min(MOST, (limit - others) // _FILES))
