"""What came under a SOP Instance UID, as the ledger has it: what counts, and what is set aside."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import select

from dicomrelay.ledger.engine import Work, chunks
from dicomrelay.ledger.schema import instances


def digests(work: Work, sop_instance_uids: Sequence[str]) -> dict[str, set[str]]:
    """See `Ledger.came`."""
    found: dict[str, set[str]] = defaultdict(set)
    for part in chunks(sop_instance_uids):
        rows = work.connection.execute(
            select(instances.c.sop_instance_uid, instances.c.digest).where(
                instances.c.sop_instance_uid.in_(part)
            )
        )
        for uid, digest in rows:
            found[uid].add(digest)
    return dict(found)
