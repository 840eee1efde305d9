"""Which SOP classes the instances of a study are of: SOP Classes in Study (0008,0062)."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from archive.index.schema import instances, series, studies
from dicomrelay.ledger.engine import Database, chunks


def sop_classes_in(database: Database, study_uids: Sequence[str]) -> dict[str, list[str]]:
    """SOP Class UIDs by Study Instance UID, sorted; a study that is not there is missing.

    No counter holds them: it reads one index entry an instance, so it is asked for a page of studies at a time.

    Raises
    ------
    ServiceUnavailable
        The index does not answer.
    """
    query = (
        select(studies.c.study_instance_uid, instances.c.sop_class_uid)
        .distinct()
        .join_from(studies, series, series.c.study == studies.c.id)
        .join(instances, instances.c.series == series.c.id)
        .order_by(instances.c.sop_class_uid)
    )
    found: dict[str, list[str]] = {}
    with database.read() as work:
        for some in chunks(study_uids):
            for uid, sop_class_uid in work.connection.execute(
                query.where(studies.c.study_instance_uid.in_(some))
            ):
                found.setdefault(uid, []).append(sop_class_uid)
    return found
