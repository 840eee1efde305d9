"""What a check looks with: the parts that are there, and how closely."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from archive.index.health import HealthIndex
from archive.inventory import ArchiveInventory
from dicomrelay.ledger.inventory import Inventory
from dicomrelay.spool.layout import Layout
from workers.integrity.findings import Tick, silent

# What is not so at once may be so in a moment: how long a check waits before it looks again.
AGAIN_S = 0.3


@dataclass(frozen=True, slots=True)
class Look:
    """The ports of a check; a part that is not there, or cannot be asked, is None.

    Attributes
    ----------
    host : str
        The name of this spool in the ledger.
    copies : Path
        Where copies in another transfer syntax are made.
    longest_wait_ms : int
        What is due later than that from now is never due, for all that anybody wants to know.
    read_data : bool
        Read every byte.
    health : HealthIndex, optional
        The archive's index of what was set aside; not looked at without it.
    """

    spool: Layout | None
    ledger: Inventory | None
    archive: ArchiveInventory | None
    host: str
    copies: Path
    longest_wait_ms: int
    read_data: bool = False
    tick: Tick = silent
    health: HealthIndex | None = None
