"""Rows of instances and destinations as values."""

from __future__ import annotations

from typing import Final

from dicomrelay.ledger.engine import AnyRow
from dicomrelay.ledger.schema import instances
from dicomrelay.ledger.texts import path_text
from dicomrelay.ledger.values import DestinationInfo, DestinationKind, InstanceFacts

INSTANCE_COLUMNS: Final = (
    instances.c.id,
    instances.c.spool_id,
    instances.c.host,
    instances.c.sop_class_uid,
    instances.c.sop_instance_uid,
    instances.c.study_instance_uid,
    instances.c.series_instance_uid,
    instances.c.transfer_syntax_uid,
    instances.c.modality,
    instances.c.digest,
    instances.c.data_set_offset,
    instances.c.data_set_bytes,
    instances.c.archive_path,
    instances.c.source_path,
    instances.c.released_at,
)


def instance_facts(row: AnyRow) -> InstanceFacts:
    """The value of a row that holds INSTANCE_COLUMNS."""
    return InstanceFacts(
        instance_id=row.id,
        spool_id=row.spool_id,
        host=row.host,
        sop_class_uid=row.sop_class_uid,
        sop_instance_uid=row.sop_instance_uid,
        study_instance_uid=row.study_instance_uid,
        series_instance_uid=row.series_instance_uid,
        transfer_syntax_uid=row.transfer_syntax_uid,
        modality=row.modality,
        digest=row.digest,
        data_set_offset=row.data_set_offset,
        data_set_bytes=row.data_set_bytes,
        archive_path=row.archive_path,
        source_path=path_text(row.source_path),
        released=row.released_at is not None,
    )


def destination_info(row: AnyRow) -> DestinationInfo:
    """The value of a row of destinations."""
    return DestinationInfo(
        name=row.name,
        ae_title=row.ae_title,
        host=row.host,
        port=row.port,
        kind=DestinationKind(row.kind),
        associations=row.associations,
        calling_ae_title=row.calling_ae_title,
        verification=row.verification,
    )
