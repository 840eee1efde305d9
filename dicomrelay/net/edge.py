"""The edge between the engine and the service: whatever a service raises becomes an answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from dicomrelay.dicom.status import Status
from dicomrelay.errors import RelayError, SpoolError
from dicomrelay.log import get_logger
from dicomrelay.net.service import StoreReply

_log = get_logger("dicomrelay.net")
_T = TypeVar("_T")


def ask(call: Callable[[], _T]) -> tuple[_T | None, StoreReply | None]:
    """What a service answers, or the reply that stands for what it raised.

    A service is other people's code at the edge of this process: whatever it raises, the peer gets an answer
    (PS3.4 Table B.2-1: A700 when there is no room, 0110 otherwise) and the other associations go on.
    """
    try:
        return call(), None
    except (SpoolError, OSError) as error:
        _log.warning("the service has no room", action="service-error", error=str(error))
        return None, StoreReply(Status.OUT_OF_RESOURCES, "out of resources")
    except RelayError as error:
        _log.warning("the service failed", action="service-error", error=str(error))
        return None, StoreReply(Status.PROCESSING_FAILURE, "processing failure")
    except Exception as error:  # noqa: BLE001 - the edge; the words of an unknown error could hold patient data
        _log.error("a fault of the service", action="service-fault", error=type(error).__name__)
        return None, StoreReply(Status.PROCESSING_FAILURE, "processing failure")
