"""Ends the leases of processes of this very host that live no more: their work need not wait for a lease to run out."""

from __future__ import annotations

from dicomrelay.ledger import Ledger
from dicomrelay.ledger.leases import Ended
from dicomrelay.log import get_logger
from dicomrelay.runtime.owner import is_gone

_log = get_logger("dicomrelay.lease")


def end_leases_of_the_dead(ledger: Ledger, *, host: str) -> Ended:
    """Look at who holds a lease, and end those of the dead; what that was.

    Parameters
    ----------
    host : str
        The name of this host's spool.

    Raises
    ------
    ServiceUnavailable
        The ledger does not answer.
    """
    ended = ledger.leases.end(
        [owner for owner in ledger.leases.owners(host=host) if is_gone(owner)], host=host
    )
    if ended:
        _log.info(
            "leases of dead processes ended",
            transfers=len(ended.transfers),
            verifications=len(ended.verifications),
            pull_steps=len(ended.pull_steps),
            stages=ended.stages,
        )
    return ended
