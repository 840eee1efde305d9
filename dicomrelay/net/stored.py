"""What is answered to a data set that is whole (PS3.4 Table B.2-1). What fails has its answer from `net.replies`."""

from __future__ import annotations

from typing import Final

from dicomrelay.dicom.scan import Header
from dicomrelay.dicom.status import Status
from dicomrelay.dimse.messages import CStoreRequest
from dicomrelay.net.service import StoreReply

STORED: Final = StoreReply(Status.SUCCESS)


def mismatch(header: Header, request: CStoreRequest) -> StoreReply | None:
    """A900 when the data set is not the instance that the command names (PS3.3 Section C.12.1.1.1), else None.

    C000 when it names none at all: it is no data set, or not in that transfer syntax.
    """
    if header.sop_instance_uid == request.sop_instance_uid and header.sop_class_uid == request.sop_class_uid:
        return None
    if not header.sop_class_uid and not header.sop_instance_uid:
        return StoreReply(
            Status.CANNOT_UNDERSTAND, "no SOP Class UID and no SOP Instance UID in the data set"
        )
    name, found = "SOP Instance UID (0008,0018)", header.sop_instance_uid
    if header.sop_class_uid != request.sop_class_uid:
        name, found = "SOP Class UID (0008,0016)", header.sop_class_uid
    what = "is not the command's" if found else "is missing in the data set"
    return StoreReply(Status.DATA_SET_DOES_NOT_MATCH_SOP_CLASS, f"{name} {what}")
