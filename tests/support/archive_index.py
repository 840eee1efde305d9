"""Instances for an index, without files."""

from __future__ import annotations

from pathlib import Path

from archive.attributes import InstanceAttributes, Value
from archive.index.entries import NewInstance
from archive.values import StoreRequest
from dicomrelay.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN

CT = "1.2.840.10008.5.1.4.1.1.2"


def new_instance(
    uid: str, *, study: str = "1.2", series: str = "", digest: str = "", file_bytes: int = 1000, **said: Value
) -> NewInstance:
    """One that is stored in `study` and, if not said otherwise, in its only series; `said` is by column."""
    series = series or f"{study}.1"
    request = StoreRequest(
        source=Path(),
        data_set_offset=100,
        data_set_bytes=file_bytes - 100,
        digest=digest or f"digest of {uid}",
        sop_class_uid=CT,
        sop_instance_uid=uid,
        study_instance_uid=study,
        series_instance_uid=series,
        transfer_syntax_uid=EXPLICIT_VR_LITTLE_ENDIAN,
        modality=str(said.get("modality") or ""),
    )
    return NewInstance(
        request, InstanceAttributes(said), f"data/P/{study}/{series}/{digest}{uid}.dcm", file_bytes
    )
