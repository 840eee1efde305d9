"""Requests of STOW-RS to one service, with its credentials; and the question whether it is there."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from time import monotonic
from types import TracebackType
from typing import Final

from dicomrelay.errors import HttpRefused, PeerBrokeProtocol
from dicomrelay.net.outcomes import http_row
from dicomrelay.net.outgoing_store import StoreItem
from dicomrelay.settings import Duplicates
from dicomrelay.text import shown
from dicomrelay.web import store_response
from dicomrelay.web.body import Body
from dicomrelay.web.credentials import credentials_of
from dicomrelay.web.http import HttpAnswer, HttpClient
from dicomrelay.web.redirects import same_service
from dicomrelay.web.store_response import StoreResponse
from dicomrelay.web.values import WebPeer

_JSON: Final = "application/dicom+json"
_MOST_HOPS: Final = 3
_LEAST_ANSWER_BYTES: Final = 65_536
_BYTES_AN_INSTANCE: Final = 4096
_LONGEST_COMMENT: Final = 200
_MAX_PROBE_BYTES: Final = 65_536
# Of no study: of the arc for UUIDs (PS3.5 Annex B.2), and nobody's.
_NOBODY: Final = "2.25.226498218117532838512358125301364587261"
# Who answers these to a search is not there for us, or not now.
_NOT_THERE: Final = frozenset({401, 403, 407, 429})


@dataclass(frozen=True, slots=True)
class Stowed:
    """What came of a request.

    Attributes
    ----------
    status : int
        Of HTTP.
    response : StoreResponse, optional
        None when it was answered without one.
    comment : str
        What the service said of its own in place of one; it may name a patient.
    retry_after_s : float
    seconds : float
        From its first byte to the last of the answer.
    """

    status: int
    response: StoreResponse | None
    comment: str
    retry_after_s: float
    seconds: float


def new_request_id() -> str:
    """For X-Request-ID, and for the ledger in place of an association's id."""
    return f"stow-{uuid.uuid4().hex[:12]}"


class StowClient:
    """Any number of threads may ask at once, as many as there are connections.

    Parameters
    ----------
    connections : int
        1 or more.
    """

    def __init__(self, peer: WebPeer, *, connections: int = 1) -> None:
        self._peer = peer
        self._credentials = credentials_of(peer.policy.auth, peer.where)
        self._http = HttpClient(
            peer.policy.url,
            tls=peer.tls,
            connect_s=peer.connect_s,
            response_s=peer.response_s,
            connections=connections,
        )

    @property
    def where(self) -> str:
        """Scheme, host and port, for words."""
        return self._http.where

    def store(self, items: Sequence[StoreItem], request_id: str, pace: Callable[[int], None]) -> Stowed:
        """Send some instances in one request (PS3.18 Section 10.5).

        Parameters
        ----------
        pace : callable
            As of `Body.pieces`.

        Raises
        ------
        AssociationError
            No answer came.
        PeerBrokeProtocol
            It answered success without a store response, or with one that says nothing.
        ConfigurationError
            A file of its credentials cannot be read.
        NotReadable
            An instance cannot be read.
        """
        body = Body(items, calling_ae_title=self._peer.calling_ae_title)
        headers = {
            "Content-Type": body.content_type,
            "Content-Length": str(body.length),
            "Accept": _JSON,
            "X-Request-ID": request_id,
        }
        limit = _LEAST_ANSWER_BYTES + _BYTES_AN_INSTANCE * len(items)
        began = monotonic()
        answer = self._ask("POST", "/studies", headers, lambda: body.pieces(pace), limit)
        response = None
        if answer.is_whole:
            trusts = self._peer.policy.duplicates is Duplicates.DELIVERED
            response = store_response.parse(answer.body, duplicates_are_delivered=trusts)
        if response is None and 200 <= answer.status <= 299:
            raise PeerBrokeProtocol(
                f"{self.where} answered HTTP {answer.status} without a store response in DICOM JSON that names an instance",
                section="PS3.18 Section 10.5.3",
            )
        comment = "" if response is not None else _comment(answer)
        return Stowed(answer.status, response, comment, answer.retry_after_s, monotonic() - began)

    def probe(self) -> HttpAnswer:
        """Search for a study that nobody has; what it answered, when that shows that it is there.

        Raises
        ------
        AssociationError
            It is not, or does not let us in.
        ConfigurationError
            A file of its credentials cannot be read.
        """
        path = f"/studies?StudyInstanceUID={_NOBODY}&limit=1"
        answer = self._ask("GET", path, {"Accept": _JSON}, lambda: None, _MAX_PROBE_BYTES)
        if answer.status in _NOT_THERE or (answer.status >= 500 and answer.status != 501):
            raise self.refused(answer.status, answer.retry_after_s)
        return replace(answer, body=b"")

    def refused(self, status: int, retry_after_s: float = 0.0) -> HttpRefused:
        """The error for an answer as a whole."""
        words = http_row(status).name if status not in range(300, 400) else "it is elsewhere"
        return HttpRefused(
            f"{self.where} answered HTTP {status}: {words.rpartition(': ')[2]}",
            status=status,
            retry_after_s=retry_after_s,
        )

    def close(self) -> None:
        """End all connections."""
        self._http.close()

    def __enter__(self) -> StowClient:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        content: Callable[[], Iterator[bytes] | None],
        limit: int,
    ) -> HttpAnswer:
        """With credentials, new ones if those were refused; followed to another path of the same service."""
        url, hops, is_renewed = self._peer.policy.url + path, 0, False
        shown_to_it = self._credentials.header() if self._credentials else ""
        while True:
            with_them = {**headers, "Authorization": shown_to_it} if shown_to_it else headers
            answer = self._http.request(method, url, with_them, content(), limit=limit)
            if answer.status == 401 and self._credentials and not is_renewed:
                another = self._credentials.header(refused=shown_to_it)
                is_renewed = True
                if another != shown_to_it:
                    shown_to_it = another
                    continue
            there = same_service(url, answer.status, answer.location) if hops < _MOST_HOPS else ""
            if not there:
                return answer
            url, hops = there, hops + 1


def _comment(answer: HttpAnswer) -> str:
    """The beginning of what a service says, as one line; nothing of a page."""
    if answer.media_type not in ("text/plain", "application/json", "application/problem+json"):
        return ""
    text = " ".join(answer.body[: 4 * _LONGEST_COMMENT].decode("utf-8", "replace").split())
    return shown(text[:_LONGEST_COMMENT])
