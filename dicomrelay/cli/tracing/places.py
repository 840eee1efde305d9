"""Where the bytes of an instance lie now."""

from __future__ import annotations

from pathlib import Path

from dicomrelay.errors import SpoolError
from dicomrelay.ledger.journey import TracedInstance
from dicomrelay.spool.layout import Layout


def places(instance: TracedInstance, *, home: Path, host: str) -> list[str]:
    """Paths in this home, and words for what lies elsewhere.

    The folder of the patient in the archive is a `*`: a shell finds the file by it, and nobody reads a name.

    Parameters
    ----------
    host : str
        The name of this home's spool; "" where it has none.
    """
    found = []
    if instance.archived_as:
        found.append(f"archive: data/*/{instance.archived_as}")
    if instance.released_at is None:
        found.append(_in_spool(instance, home, host))
    return found or ["nowhere in this house: it was given up here after every destination had it"]


def _in_spool(instance: TracedInstance, home: Path, host: str) -> str:
    if instance.from_file:
        return (
            f"the file that was submitted, read where it lies; its record is spool item {instance.spool_id}"
        )
    if instance.host != host:
        return f"spool of {instance.host}: item {instance.spool_id}"
    try:
        return f"spool: {Layout(home / 'spool').find(instance.spool_id).relative_to(home)}"
    except SpoolError:
        return f"spool: item {instance.spool_id} is not where it should be: see `dicomrelay check`"
