"""What is answered to a C-STORE request that fails here: one table from errors to statuses (PS3.4 Table B.2-1).

A7xx, out of resources, for what is ours and of the moment: no room, a disk that does not do its work. The same instance
may be taken later, by us or by another receiver. 0110, processing failure, for what we do not know to pass. Cxxx for
what is wrong with the data set, and stays so.
"""

from __future__ import annotations

from typing import Final

from dicomrelay.dicom.status import Status
from dicomrelay.errors import DataSetError, RelayError, ServiceUnavailable, SpoolError, SpoolFull
from dicomrelay.net.service import StoreReply

# Most particular first. The comment None stands for the error's own words: those of an error of a data set are for the
# peer. Paths stay at home: the words of an error of a disk are for our log.
REPLIES: Final[tuple[tuple[type[Exception], Status, str | None], ...]] = (
    (SpoolFull, Status.OUT_OF_RESOURCES, "disk space is low, send again later"),
    (SpoolError, Status.OUT_OF_RESOURCES, "could not be stored durably, send again"),
    (OSError, Status.OUT_OF_RESOURCES, "could not be stored, send again later"),
    (ServiceUnavailable, Status.OUT_OF_RESOURCES, "a service does not answer, send again later"),
    (DataSetError, Status.CANNOT_UNDERSTAND, None),
    (RelayError, Status.PROCESSING_FAILURE, "processing failure"),
    (Exception, Status.PROCESSING_FAILURE, "processing failure"),
)


def reply_to(error: Exception) -> StoreReply:
    """The answer for an error, ours or any other."""
    for kind, status, comment in REPLIES:
        if isinstance(error, kind):
            return StoreReply(status, str(error) if comment is None else comment)
    raise AssertionError("Exception stands last in the table")
