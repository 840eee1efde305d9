"""What an answer of a web service means for each instance of its request (docs/design/stow-destinations.md). No I/O."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from dicomrelay.delivery.answers import answer_of
from dicomrelay.delivery.values import Answer
from dicomrelay.delivery.web_batches import Batch, Ready
from dicomrelay.dicom.status import Outcome, status_name
from dicomrelay.dicom.transfer_syntaxes import transfer_syntax
from dicomrelay.errors import (
    AssociationAborted,
    AssociationError,
    AssociationTimeout,
    PeerBrokeProtocol,
    SpoolCorrupt,
)
from dicomrelay.net.outcomes import http_row
from dicomrelay.net.outgoing_store import StoreItem
from dicomrelay.net.service import StoreReply
from dicomrelay.web.store_response import Told
from dicomrelay.web.stow import Stowed

# As a whole they may be about one instance of several, or about how many they are.
SPLITS: Final = frozenset({400, 409, 413, 415, 422})
# As a whole they leave open what was stored.
WAS_UNDER_WAY: Final = frozenset({500, 504})


def was_under_way(error: AssociationError) -> bool:
    """Whether it ended a request of which the service may have stored something."""
    if isinstance(error, AssociationTimeout):
        return error.timer == "response"
    return isinstance(error, AssociationAborted | PeerBrokeProtocol)


def is_even(item: StoreItem) -> None:
    """Look at the length of a data set (PS3.5 Section 7.1).

    Raises
    ------
    SpoolCorrupt
        It is odd, and not that of a deflated stream, which may be made even.
    """
    if item.data_set_bytes & 1 and not transfer_syntax(item.transfer_syntax_uid).is_deflated:
        raise SpoolCorrupt("the file has an odd number of data set bytes, which no peer accepts: not sent")


def is_as_a_whole(stowed: Stowed) -> bool:
    """Whether the answer is about the request, and not about its instances one by one."""
    response = stowed.response
    if response is None:
        return True
    if response.named or 200 <= stowed.status <= 299:
        return False
    later = response.others is not None and response.others.outcome is Outcome.RETRY
    return not (later and stowed.status in SPLITS)  # shorter requests would come to the same


def answers_of(batch: Batch, stowed: Stowed, request_id: str) -> Iterator[Answer]:
    """One of each instance, by the store response."""
    for ready in batch:
        about = stowed.response.of(ready.item.sop_instance_uid) if stowed.response is not None else None
        about = about or _not_named(stowed.status)
        yield _answer(ready, about, stowed, request_id, seconds=stowed.seconds / len(batch))


def refused_alone(ready: Ready, stowed: Stowed, request_id: str) -> Answer:
    """It was alone in its request, and that was answered as a whole."""
    about = stowed.response.others if stowed.response is not None else None
    about = about or Told(Outcome.REFUSED, words=http_row(stowed.status).name, comment=stowed.comment)
    return _answer(ready, about, stowed, request_id, seconds=stowed.seconds)


def _not_named(status: int) -> Told:
    """Who is in trouble may have come no further; everybody else had something against it."""
    row, words = http_row(status), "the store response does not name it"
    if row.outcome is Outcome.RETRY:
        return Told(Outcome.RETRY, words=f"{row.name}; {words}")
    return Told(Outcome.REFUSED, words=words)


def _answer(ready: Ready, about: Told, stowed: Stowed, request_id: str, *, seconds: float) -> Answer:
    # Its words on a copy are those of any road; what it makes of a status is not, and is put in its place.
    answer = answer_of(
        ready.wanted.instance,
        ready.item,
        StoreReply(0),
        association_id=request_id,
        seconds=seconds,
        digest=ready.wanted.digest,
        edits=ready.wanted.edits,
    )
    words = about.words
    if not words and about.status is not None and about.outcome is not Outcome.DELIVERED:
        words = status_name(about.status)
    return replace(
        answer,
        outcome=about.outcome,
        status=about.status,
        words="; ".join(filter(None, (words, answer.words))),
        comment=about.comment,
        http_status=stowed.status,
    )
