"""What is answered to a C-STORE request: one table from errors to status codes (PS3.4 Table B.2-1)."""

from __future__ import annotations

from typing import Final

from dicomrelay.dicom.scan import Header
from dicomrelay.dicom.status import Status
from dicomrelay.errors import DataSetError, RelayError, SpoolError, SpoolFull
from dicomrelay.net.service import StoreReply

# Most particular first. The comment None stands for the error's own words.
REPLIES: Final[tuple[tuple[type[RelayError], Status, str | None], ...]] = (
    (SpoolFull, Status.OUT_OF_RESOURCES, "disk space is low, send again later"),
    (SpoolError, Status.PROCESSING_FAILURE, "could not be stored durably, send again"),
    (DataSetError, Status.CANNOT_UNDERSTAND, None),
    (RelayError, Status.PROCESSING_FAILURE, "processing failure"),
)

STORED: Final = StoreReply(Status.SUCCESS)
# Paths stay at home: the words of an error of the spool are for our log, those of a data set's for the peer.


def reply_to(error: RelayError) -> StoreReply:
    """The answer for an error of ours."""
    for kind, status, comment in REPLIES:
        if isinstance(error, kind):
            return StoreReply(status, str(error) if comment is None else comment)
    raise AssertionError("RelayError stands last in the table")


def mismatch(header: Header, *, sop_class_uid: str, sop_instance_uid: str) -> StoreReply | None:
    """A900 when the data set is not the instance that the command names (PS3.3 Section C.12.1.1.1), else None.

    C000 when it names none at all: it is no data set, or not in that transfer syntax.
    """
    if not header.sop_class_uid and not header.sop_instance_uid:
        return StoreReply(
            Status.CANNOT_UNDERSTAND, "no SOP Class UID and no SOP Instance UID in the data set"
        )
    for name, tag, found, announced in (
        ("SOP Class UID", "(0008,0016)", header.sop_class_uid, sop_class_uid),
        ("SOP Instance UID", "(0008,0018)", header.sop_instance_uid, sop_instance_uid),
    ):
        if found != announced:
            what = "is not the command's" if found else "is missing in the data set"
            return StoreReply(Status.DATA_SET_DOES_NOT_MATCH_SOP_CLASS, f"{name} {tag} {what}")
    return None
