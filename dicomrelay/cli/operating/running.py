"""Whether anything works on what was asked for."""

from __future__ import annotations

from dicomrelay.runtime import home
from dicomrelay.settings import Settings


def runs_here(settings: Settings) -> bool:
    """Whether `up` runs on this home; where the ledger is shared, others may work on it, and nobody here knows."""
    if settings.database.url.get_secret_value() != "embedded":
        return True
    return home.HomeLock(settings).is_held()
