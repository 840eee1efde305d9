"""What `dicomrelay status` says of performed procedure steps."""

from __future__ import annotations

from typing import Final

from sqlalchemy import text

from dicomrelay.errors import RelayError
from dicomrelay.ledger.engine import Database
from dicomrelay.runtime import home
from dicomrelay.settings import Settings

# In words, for what reads those tables brings pydicom with it, and a status should be quick.
_UNHEARD: Final = text("SELECT count(*) FROM performed_forwards WHERE state = 'needs_attention'")


def unheard_messages(settings: Settings) -> int:
    """How many messages for other systems need attention; 0 of a ledger that has no such table yet."""
    database = Database(home.ledger_url(settings))
    try:
        with database.read() as work:
            return int(work.connection.execute(_UNHEARD).scalar_one())
    except RelayError:
        return 0
    finally:
        database.dispose()
