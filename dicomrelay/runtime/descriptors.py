"""How many files and sockets this process may have open."""

from __future__ import annotations

import resource


def want_descriptors(count: int) -> int:
    """Raise the soft limit to `count`, as far as the hard limit lets us; it is never lowered.

    Returns
    -------
    int
        The limit from now on; under `count` when the machine's administrator allows no more.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= count:
        return count if soft == resource.RLIM_INFINITY else soft
    limit = count if hard == resource.RLIM_INFINITY else min(count, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return limit
