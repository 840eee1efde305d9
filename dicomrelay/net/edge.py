"""The edge between the engine and the service: whatever a service raises becomes an answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

from dicomrelay.errors import RelayError
from dicomrelay.log import get_logger
from dicomrelay.net.replies import reply_to
from dicomrelay.net.service import StoreReply

_log = get_logger("dicomrelay.net")
_T = TypeVar("_T")
_Arguments = TypeVarTuple("_Arguments")


def ask(
    call: Callable[[*_Arguments], _T], *arguments: *_Arguments
) -> tuple[_T, None] | tuple[None, StoreReply]:
    """What a service answers, or the reply that stands for what it raised.

    A service is other people's code at the edge of this process: whatever it raises, the peer gets an answer
    (`net.replies`) and the other associations go on.
    """
    try:
        return call(*arguments), None
    except Exception as error:  # noqa: BLE001 - the edge
        # Only the words of errors that we know are logged: those of an unknown one could hold patient data.
        if isinstance(error, RelayError | OSError):
            _log.warning("the service failed", action="service-error", error=str(error))
        else:
            _log.error("a fault of the service", action="service-fault", error=type(error).__name__)
        return None, reply_to(error)
