"""Extended negotiation of C-FIND (PS3.4 Section C.5.1.1): what a peer asks for, and what is agreed. Pure."""

from __future__ import annotations

from typing import Final

from dicomrelay.settings import QuerySettings
from scp_gateway.query.question import Agreed

_RELATIONAL: Final = 0
_DATE_TIME: Final = 1
_FUZZY: Final = 2


def agreement(asked: bytes, settings: QuerySettings) -> bytes:
    """The application information of the answer: 1 where 1 was asked and we do so, as many bytes as came."""
    ours = {_RELATIONAL, _DATE_TIME}
    if settings.fuzzy_names != "never":
        ours.add(_FUZZY)
    return bytes(int(place in ours and byte == 1) for place, byte in enumerate(asked))


def agreed_by(answered: bytes, settings: QuerySettings) -> Agreed:
    """What holds on an association, of which `answered` was agreed on (empty for nothing)."""

    def holds(place: int) -> bool:
        return answered[place : place + 1] == b"\x01"

    return Agreed(
        relational=settings.relational == "always" or holds(_RELATIONAL),
        combined_date_time=holds(_DATE_TIME),
        fuzzy_names=settings.fuzzy_names == "always"
        or (settings.fuzzy_names == "negotiated" and holds(_FUZZY)),
    )
