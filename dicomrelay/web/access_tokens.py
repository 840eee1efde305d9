"""Access tokens by the client credentials grant of OAuth 2 (RFC 6749 Section 4.4)."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote_plus, urlencode

from dicomrelay.errors import HttpRefused
from dicomrelay.net.tls import requestor_context
from dicomrelay.settings import DestinationTlsSettings, DicomwebAuthSettings
from dicomrelay.web.http import HttpAnswer, HttpClient

# It is renewed so long before its end: a request under way with it is still good.
_BEFORE_ITS_END_S: Final = 30.0
# Where the server does not say how long one lives (RFC 6749 Section 5.1 recommends that it does).
_LIVES_S: Final = 300.0
_PATIENCE_S: Final = 10.0
_MAX_ANSWER_BYTES: Final = 65_536
# RFC 6749 Section 5.2; anything else that a server says is not repeated.
_ERRORS: Final = frozenset(
    {
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
    }
)


class AccessTokens:
    """Gets one when there is none, and keeps it until shortly before its end; any number of threads may ask.

    Parameters
    ----------
    secret : callable
        The client's, as it is now.
    clock : callable
        Seconds that only go forward.
    """

    def __init__(
        self,
        auth: DicomwebAuthSettings,
        where: str,
        *,
        secret: Callable[[], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._auth = auth
        self._where = where
        self._secret = secret
        self._clock = clock
        self._lock = threading.Lock()
        self._token = ""
        self._until = 0.0

    def get(self, refused: str = "") -> str:
        """A token.

        Parameters
        ----------
        refused : str
            One that a service does not take: it is not given again, and if another has come meanwhile, that one is.

        Raises
        ------
        ConfigurationError
            The secret, or a certificate, cannot be read.
        AssociationError
            The server of tokens cannot be reached, refuses us (status 401), or has a fault.
        """
        with self._lock:
            if not self._token or self._clock() >= self._until or self._token == refused:
                self._token = ""
                asked_at = self._clock()
                self._token, lives_s = self._ask()
                self._until = asked_at + max(lives_s - _BEFORE_ITS_END_S, lives_s / 2)
            return self._token

    def _ask(self) -> tuple[str, float]:
        auth, url = self._auth, self._auth.token_url or ""
        fields = {"grant_type": "client_credentials"}
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        if auth.scope is not None:
            fields["scope"] = auth.scope
        client, secret = auth.client_id or "", self._secret()
        if auth.client_auth == "post":
            fields |= {"client_id": client, "client_secret": secret}
        else:
            pair = f"{quote_plus(client)}:{quote_plus(secret)}"  # RFC 6749 Section 2.3.1
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        body = urlencode(fields).encode()
        headers["Content-Length"] = str(len(body))
        tls = None
        if url.startswith("https:"):
            authorities = DestinationTlsSettings(ca=auth.token_ca)
            tls = requestor_context(authorities, where=f"{self._where}.auth.token")
        with HttpClient(url, tls=tls, connect_s=_PATIENCE_S, response_s=_PATIENCE_S) as http:
            answer = http.request("POST", url, headers, body, limit=_MAX_ANSWER_BYTES)
            return _token(answer, http.where)


def _token(answer: HttpAnswer, where: str) -> tuple[str, float]:
    """A token and how long it lives, in seconds.

    Raises
    ------
    HttpRefused
        There is none.
    """
    found = _object(answer)
    if answer.status != 200:
        error = found.get("error")
        why = f", {error}" if isinstance(error, str) and error in _ERRORS else ""
        ours = answer.status < 500 and answer.status not in (408, 429)
        raise HttpRefused(
            f"{where} gives no access token: HTTP {answer.status}{why}",
            status=401 if ours else answer.status,
            retry_after_s=answer.retry_after_s,
        )
    token, lives_s = found.get("access_token"), found.get("expires_in", _LIVES_S)
    if not isinstance(token, str) or not token.isascii() or not token.isprintable() or " " in token:
        token = ""
    if not token or str(found.get("token_type", "bearer")).lower() != "bearer":
        raise HttpRefused(f"{where} answers 200, and gives no bearer token", status=502)
    if isinstance(lives_s, bool) or not isinstance(lives_s, int | float) or not 0 < lives_s < 1e9:
        lives_s = _LIVES_S
    return token, float(lives_s)


def _object(answer: HttpAnswer) -> dict[str, Any]:
    """A JSON object; an empty one for anything else."""
    try:
        found = json.loads(answer.body) if answer.is_whole else None
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
