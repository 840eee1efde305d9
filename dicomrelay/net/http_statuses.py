"""What an HTTP status says of a whole request to a web service (RFC 9110 Section 15, PS3.18 Section 10.5.3). Data, no more.

Each: what it means for what was asked, a name, and what to do next.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from dicomrelay.dicom.status import Outcome

_RETRY: Final = Outcome.RETRY
_REFUSED: Final = Outcome.REFUSED
_BY_ITSELF: Final = "Nothing now, it is tried again by itself; if it lasts, "
_NOT_THERE: Final = (
    "Correct the destination's url: it ends where /studies begins, and the service has to take STOW-RS."
)
_CREDENTIALS: Final = "Look at the destination's auth, and let the service's administrator allow us to store."
_LOADED: Final = _BY_ITSELF + "give the destination fewer associations or parallel_requests."
_LOG: Final = "The service's log says why."
_UNREADABLE: Final = "The service's log says what it cannot read."
_SERVICE: Final = _BY_ITSELF + "the service's log says why."
_LONG: Final = (
    "Let the service's administrator allow longer requests, or make the destination's batch_bytes less."
)
_MEDIA_TYPE: Final = "The service does not take DICOM files, or not in this transfer syntax."
_NO_JSON: Final = "The service has to answer application/dicom+json (PS3.18 Section 10.5.3)."

HTTP_STATUSES: Final[Mapping[int, tuple[Outcome, str, str]]] = {
    400: (_REFUSED, "bad request", _UNREADABLE),
    401: (_REFUSED, "credentials refused", _CREDENTIALS),
    403: (_REFUSED, "forbidden", _CREDENTIALS),
    404: (_REFUSED, "no such service", _NOT_THERE),
    405: (_REFUSED, "nothing can be stored there", _NOT_THERE),
    406: (_REFUSED, "no answer in DICOM JSON", _NO_JSON),
    408: (_RETRY, "the request came too slowly", _BY_ITSELF + "the network between is too slow."),
    409: (_REFUSED, "conflict", "The service's log says what is in the way."),
    411: (_REFUSED, "length required", "A proxy takes the length away: look at what stands between."),
    413: (_REFUSED, "too long", _LONG),
    415: (_REFUSED, "media type not taken", _MEDIA_TYPE),
    422: (_REFUSED, "cannot be processed", _UNREADABLE),
    429: (_RETRY, "too many requests", _LOADED),
    500: (_RETRY, "a fault in the service", _SERVICE),
    501: (_REFUSED, "not implemented", _NOT_THERE),
    502: (_RETRY, "nobody behind the proxy", _SERVICE),
    503: (_RETRY, "not available now", _LOADED),
    504: (_RETRY, "no answer behind the proxy", _SERVICE),
    507: (_RETRY, "no room", _BY_ITSELF + "make room there."),
}
# By the hundreds, for what has no row of its own: fault, outcome, name, advice.
HTTP_OTHERS: Final[Mapping[int, tuple[str, Outcome, str, str]]] = {
    3: (
        "3xx",
        _REFUSED,
        "HTTP 3xx: it is elsewhere",
        "Put the service's new address into the destination's url: nothing is sent where the settings do not say.",
    ),
    4: ("4xx, any other", _REFUSED, "HTTP 4xx: refused", _LOG),
    5: ("5xx, any other", _RETRY, "HTTP 5xx: a fault in the service", _SERVICE),
    0: (
        "any other",
        _REFUSED,
        "HTTP: unknown status",
        "What answers there is no DICOMweb service: correct the url.",
    ),
}
